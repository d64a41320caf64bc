import {
  type EventKey,
  eventKey,
  type Filter,
  type GlobalRange,
  type LogProvider,
  type NewEvent,
  type RecordedEvent,
  readBatchMax,
} from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Collector, LogHarness, readAll, seededRandom } from './log-harness.ts';

/** Enough that a log which indexes whole stretches of itself has several. */
const total = 14_000;
const nodes = 40;

/** Event n. Some things are everywhere, some here and there, some once. */
function made(n: number): NewEvent {
  const type = n % 2_000 === 1_999 ? `x-c-Rare${Math.floor(n / 2_000)}` : n < total / 2 ? 'x-c-Early' : 'x-c-Late';
  const data = {
    n,
    node: `n${n % nodes}`,
    instance: `i${Math.floor(n / 10)}`,
    ...(n % 3 === 0 && { workload: `default/w${Math.floor(n / 1_000)}` }),
  };
  const meta = {
    ...(n % 5 === 0 && { correlation: `c${n % 700}` }),
    ...(n % 7 === 0 && n > 0 && { causation: n - 1 }),
  };
  // What has such names elsewhere, or no text under them, has no such key.
  return n % 11 === 0 ? { type, data: { ...data, node: n, spec: { node: 'n1' } }, meta } : { type, data, meta };
}

/** The conditions of a filter, said again: what a log selects is held against this. */
function selects({ types, streams, keys }: Filter): (event: RecordedEvent) => boolean {
  const matches = (patterns: readonly string[] | undefined, name: string) =>
    !patterns?.length ||
    patterns.some((each) => (each.endsWith('*') ? name.startsWith(each.slice(0, -1)) : each === name));
  const keysOf = ({ stream, position, data, meta }: RecordedEvent): readonly string[] => {
    const named = Object.entries(data as Record<string, unknown>)
      .filter(([name, value]) => ['node', 'instance', 'workload'].includes(name) && typeof value === 'string')
      .map(([name, value]) => `${name}:${value}`);
    const { correlation, causation } = meta;
    return [
      ...named,
      `stream:${stream}`,
      `position:${position}`,
      `correlation:${correlation}`,
      `causation:${causation}`,
    ];
  };
  return (event) =>
    matches(types, event.type) &&
    matches(streams, event.stream) &&
    (!keys?.length || keysOf(event).some((key) => (keys as readonly string[]).includes(key)));
}

function positionsOf(events: readonly RecordedEvent[]): number[] {
  return events.map(({ position }) => position);
}

/** What reading with a filter promises, however the log finds the events. */
export function logFilters<Config>(shared: LogHarness<Config>): void {
  describe('filters', () => {
    const harness = new LogHarness(shared.plugin, shared.options);
    let log: LogProvider;
    let reopen: () => Promise<LogProvider>;
    let all: RecordedEvent[];
    beforeAll(async () => {
      const opened = await harness.open();
      log = opened.log;
      reopen = opened.reopen;
      const appends: Promise<unknown>[] = [];
      for (let n = 0; n < total; n++) appends.push(log.append(`s-${n % 50}`, [made(n)], 'any'));
      await Promise.all(appends);
      all = await readAll(log);
    });
    afterAll(() => harness.closeAll());

    const random = seededRandom(11);
    const some = <Value>(values: readonly Value[], count: number) =>
      Array.from({ length: count }, () => values[Math.floor(random() * values.length)] as Value);
    const keysThereAre = (): EventKey[] => {
      const n = Math.floor(random() * total);
      return [
        eventKey('node', `n${n % nodes}`),
        eventKey('instance', `i${Math.floor(n / 10)}`),
        eventKey('workload', `default/w${n % 15}`),
        eventKey('stream', `s-${n % 50}`),
        eventKey('correlation', `c${n % 700}`),
        eventKey('causation', n),
        eventKey('position', n),
        eventKey('node', 'nobody'),
      ];
    };
    const types = ['x-c-Early', 'x-c-Late', 'x-c-Rare2', 'x-c-Rare*', 'x-c-*', 'x-c', 'nothing'];
    const streams = ['s-1', 's-2', 's-4*', 's-*', 'nobody'];
    const filters: Filter[] = [
      { keys: [] },
      { keys: [eventKey('node', 'nobody')] },
      { types: ['nothing'] },
      { types: ['x-c-Rare6'] },
      { streams: ['s-49'] },
      ...keysThereAre().map((key) => ({ keys: [key] })),
      ...Array.from({ length: 25 }, () => ({
        ...(random() < 0.5 && { types: some(types, 1 + Math.floor(random() * 2)) }),
        ...(random() < 0.3 && { streams: some(streams, 1 + Math.floor(random() * 2)) }),
        ...(random() < 0.7 && { keys: some(keysThereAre(), 1 + Math.floor(random() * 6)) }),
      })),
      // More of them than there are different ones in any stretch.
      { keys: Array.from({ length: 5_000 }, (_, n) => eventKey('instance', `i${n * 3}`)) },
    ];

    const check = async (filter: Filter, from = 0, to = total - 1) => {
      const what = JSON.stringify({ from, to, ...filter }).slice(0, 300);
      const wanted = positionsOf(all.slice(from, to + 1).filter(selects(filter)));
      const found = async (range: GlobalRange) => positionsOf(await readAll(log, range));
      expect(await found({ filter, from, to }), what).toEqual(wanted);
      const limit = 1 + Math.floor(random() * 70);
      expect(await found({ filter, from, to, limit }), what).toEqual(wanted.slice(0, limit));
      wanted.reverse();
      const backwards = { filter, from: to, to: from, direction: 'backwards' } as const;
      expect(await found(backwards), what).toEqual(wanted);
      expect(await found({ ...backwards, limit }), what).toEqual(wanted.slice(0, limit));
    };

    it('select by types, streams and keys, over all of the log and over parts of it', async () => {
      const [whole] = await readAll(log, { filter: { keys: [eventKey('position', 4_711)] } });
      expect(whole).toEqual(all[4_711]);
      for (const filter of filters) {
        await check(filter);
        const from = Math.floor(random() * total);
        await check(filter, from, from + Math.floor(random() * (total - from)));
      }
    });

    it('select the same from what was appended since, and in bounded batches', async () => {
      const next = total + 5_000;
      for (let n = total; n < next; n++) void log.append(`s-${n % 50}`, [made(n)], 'any');
      await log.append('s-new', [made(next)], 'none');
      all = await readAll(log);
      for (const filter of [...filters.slice(0, 20), { streams: ['s-n*'] }]) await check(filter, 0, next);
      for await (const batch of log.read({ filter: { types: ['x-c-Late'] } })) {
        expect(batch.length).toBeGreaterThan(0);
        expect(batch.length).toBeLessThanOrEqual(readBatchMax);
      }
    });

    it('select the same for a subscription', async () => {
      for (const filter of [{ keys: [eventKey('node', 'n3')] }, { types: ['x-c-Rare*'] }, { streams: ['s-7'] }]) {
        const wanted = all.filter(selects(filter));
        const collector = new Collector(log.subscribe(0, filter));
        expect(await collector.reaches(wanted.length)).toEqual(wanted);
        collector.stop();
      }
    });

    if (shared.options.durable) {
      it('select the same when it is opened again, and it finds nothing wrong with itself', async () => {
        expect(await log.verify()).toMatchObject({ ok: true });
        log = await reopen();
        for (const filter of filters.slice(0, 20)) await check(filter, 0, all.length - 1);
        expect(await log.verify()).toMatchObject({ ok: true, damages: [] });
      });
    }

    it('select the same from what a trim has left', async () => {
      if (shared.plugin.supports?.trim === false) return;
      const head = log.head();
      await log.snapshots.save('p', { version: 1, position: head, state: null });
      for (const before of [5_000, 9_000]) {
        const { first } = await log.trim(before);
        for (const filter of filters.slice(0, 15)) await check(filter, first, head);
      }
      expect(await log.verify()).toMatchObject({ ok: true });
    });
  });
}
