import type { RecordedEvent } from './event.ts';

/**
 * What events can be found by besides their type:
 *
 * | kind | value |
 * | --- | --- |
 * | `workload`, `instance`, `node` | the text under that name in the data of the event |
 * | `stream` | its stream |
 * | `correlation`, `causation` | of its metadata |
 * | `position` | its own position |
 */
export const eventKeyKinds = [
  'workload',
  'instance',
  'node',
  'stream',
  'correlation',
  'causation',
  'position',
] as const;
export type EventKeyKind = (typeof eventKeyKinds)[number];

/** `<kind>:<value>`: `node:n1`, `causation:41`. */
export type EventKey = `${EventKeyKind}:${string}`;

/** Kinds that are the text under their own name in the data. */
const inData = ['workload', 'instance', 'node'] as const;

export function eventKey(kind: EventKeyKind, value: string | number): EventKey {
  return `${kind}:${value}`;
}

/** The two parts of a key. @throws RangeError where it is none */
export function partsOfKey(key: EventKey): { readonly kind: EventKeyKind; readonly value: string } {
  const colon = key.indexOf(':');
  const kind = key.slice(0, colon) as EventKeyKind;
  if (!eventKeyKinds.includes(kind)) {
    throw new RangeError(`event key ${JSON.stringify(key)}, expected <kind>:<value> with ${eventKeyKinds.join(', ')}`);
  }
  return { kind, value: key.slice(colon + 1) };
}

/** Calls back with each key of an event, but for its position. */
export function visitKeys(event: RecordedEvent, visit: (kind: EventKeyKind, value: string) => void): void {
  visit('stream', event.stream);
  const { data, meta } = event;
  if (typeof data === 'object' && data !== null) {
    for (const kind of inData) {
      const value = (data as Record<string, unknown>)[kind];
      if (typeof value === 'string') visit(kind, value);
    }
  }
  if (meta.correlation !== undefined) visit('correlation', meta.correlation);
  if (meta.causation !== undefined) visit('causation', String(meta.causation));
}

/** Whether an event has one of the keys. Undefined where none are given: every event will do. */
export function compileKeys(keys: readonly EventKey[] | undefined): ((event: RecordedEvent) => boolean) | undefined {
  if (!keys || keys.length === 0) return undefined;
  const wanted = new Map<EventKeyKind, Set<string>>();
  for (const key of keys) {
    const { kind, value } = partsOfKey(key);
    const values = wanted.get(kind);
    if (values) values.add(value);
    else wanted.set(kind, new Set([value]));
  }
  const tests = [...wanted].map(([kind, values]) => testOf(kind, values));
  const [only] = tests;
  return tests.length === 1 ? only : (event) => tests.some((test) => test(event));
}

function testOf(kind: EventKeyKind, values: ReadonlySet<string>): (event: RecordedEvent) => boolean {
  switch (kind) {
    case 'stream':
      return ({ stream }) => values.has(stream);
    case 'correlation':
      return ({ meta }) => meta.correlation !== undefined && values.has(meta.correlation);
    case 'causation':
      return ({ meta }) => meta.causation !== undefined && values.has(String(meta.causation));
    case 'position':
      return ({ position }) => values.has(String(position));
    default:
      return ({ data }) => {
        if (typeof data !== 'object' || data === null) return false;
        const value = (data as Record<string, unknown>)[kind];
        return typeof value === 'string' && values.has(value);
      };
  }
}
