import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, openBench, until } from '../spec-kit.ts';
import type { Chunk } from './feed-group.ts';
import { feedForms, openFeed } from './feed-reader.fixture.ts';
import { type ChunksByPosition, PastChunks } from './past-chunks.ts';

describe('subscribers that come back at once', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  const events = 6_000;
  const subscribers = 12;
  it.each(feedForms.flatMap((form) => ['', '&types=GuestStarted'].map((query) => [form, query] as const)))(
    'have the log read once for all of them, not for each: %s%s',
    async (form, query) => {
      const types = ['GuestStarted', 'GuestExited', 'GuestHealthy'];
      const given = Array.from({ length: events }, (_, at) => ({
        stream: 'node-n1',
        type: types[at % 3] as string,
        data: { pad: 'x'.repeat(200) },
      }));
      bench.kernel.events.record(...given);
      const wanted = bench.kernel.events.events
        .filter(({ type }) => !query.includes('types') || type === 'GuestStarted')
        .map(({ position }) => position);
      const { events: log } = bench.kernel;
      const read = log.read.bind(log);
      let seen = 0;
      log.read = async function* (range) {
        for await (const batch of read(range)) {
          seen += batch.length;
          yield batch;
        }
      };
      // From the same place, and from places of their own.
      const froms = Array.from({ length: subscribers }, (_, n) => (n % 3 === 0 ? n * 97 : 0));
      const readers = await Promise.all(froms.map((from) => openFeed(bench, form, `from=${from}${query}`)));
      const expected = froms.map((from) => wanted.filter((position) => position >= from));
      await until('all have come', () =>
        readers.every(({ positions }, n) => positions.length >= (expected[n] as number[]).length),
      );
      expect(readers.map(({ positions }) => positions)).toEqual(expected);
      expect(seen).toBeLessThan(wanted.length * 4);
      for (const reader of readers) reader.close();
    },
    300_000,
  );
});

describe('what is kept of what was read', () => {
  const chunk = (first: number, last: number, bytes: number): Chunk => ({
    ...{ first, last, count: 1, structures: 0 },
    bytes: Buffer.alloc(bytes),
  });

  it('is bounded over all groups, and goes with a group', () => {
    const past = new PastChunks(10_000);
    const one: ChunksByPosition = new Map();
    const other: ChunksByPosition = new Map();
    past.keep(one, [chunk(0, 9, 3_000), chunk(10, 19, 3_000)], 0, 20);
    past.keep(other, [chunk(0, 4, 3_000)], 0, 5);
    expect([[...one.keys()], [...other.keys()]]).toEqual([[10], [0]]);
    past.forget(one);
    past.keep(other, [chunk(5, 9, 3_000)], 5, 10);
    expect([[...one.keys()], [...other.keys()]]).toEqual([[], [0, 5]]);
    past.keep(other, [chunk(10, 19, 20_000)], 10, 20);
    expect(other.size).toBe(0);
  });

  it('says where nothing matches, and of two that begin at one place has the longer one', () => {
    const past = new PastChunks(10_000);
    const group: ChunksByPosition = new Map();
    past.keep(group, [], 0, 64);
    past.keep(group, [chunk(64, 70, 10)], 64, 128);
    past.keep(group, [chunk(64, 66, 10)], 64, 67);
    expect([...group.values()].map(({ first, last, count }) => [first, last, count])).toEqual([
      [0, 63, 0],
      [64, 70, 1],
      [71, 127, 0],
    ]);
    past.keep(group, [chunk(64, 80, 10)], 64, 81);
    expect(group.get(64)?.last).toBe(80);
  });
});
