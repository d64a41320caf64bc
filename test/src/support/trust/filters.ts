import type { EventFilter } from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import type { SeededRandom } from '@cloudos/testing';

/** One of the conditions that a subscriber may have, or none. */
export function randomFilter(random: SeededRandom): EventFilter {
  const some = (values: readonly string[]) => values.filter(() => random.chance(0.4));
  switch (random.int(8)) {
    case 0:
      return { types: some(['GuestStarted', 'Guest*', 'x-test-*']) };
    case 1:
      return { streams: some(['node-n1', 'node-n2', 'x-test-0', 'x-test-1']) };
    case 2:
      return { streams: ['node-*'], types: ['GuestExited'] };
    case 3:
      return { workload: `w${random.int(4)}` };
    case 4:
      return { node: `n${random.int(5)}` };
    case 5:
      return { cause: `c${random.int(6)}` };
    case 6:
      return { layer: 'node' };
    default:
      return {};
  }
}

interface Data {
  readonly workload?: string;
  readonly instance: string;
  readonly node?: string;
}

/** The same conditions, said again: what the server selects is held against this. */
export function selects(filter: EventFilter, log: readonly RecordedEvent[]): (event: RecordedEvent) => boolean {
  const matches = (patterns: readonly string[] | undefined, name: string) =>
    !patterns?.length ||
    patterns.some((each) => (each.endsWith('*') ? name.startsWith(each.slice(0, -1)) : each === name));
  const workload = filter.workload && `default/${filter.workload}`;
  const data = (event: RecordedEvent) => event.data as Data;
  const instances = new Set(
    log
      .filter((event) => event.type === 'InstanceRequested' && data(event).workload === workload)
      .map((event) => data(event).instance),
  );
  return (event) =>
    matches(filter.types, event.type) &&
    matches(filter.streams, event.stream) &&
    (workload === undefined || data(event).workload === workload || instances.has(data(event).instance)) &&
    (filter.node === undefined || event.stream === `node-${filter.node}` || data(event).node === filter.node) &&
    (filter.layer === undefined || event.type.startsWith('Guest')) &&
    (filter.cause === undefined || event.meta.correlation === filter.cause);
}

/** As the query of an address says it. */
export function filterQuery(filter: EventFilter): string {
  const entries = Object.entries(filter).filter(([, value]) => value !== undefined && String(value) !== '');
  return entries.map(([name, value]) => `&${name}=${encodeURIComponent(String(value))}`).join('');
}
