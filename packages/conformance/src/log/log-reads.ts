import { type LogProvider, readBatchMax } from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LogHarness, numbered, numbersOf, readAll, turns } from './log-harness.ts';

const total = 10_000;
const all = Array.from({ length: total }, (_, n) => n);
const reversed = [...all].reverse();

/** What reading promises. The log holds event n at position n, in stream `s-<n mod 3>`, of type A or B by turns. */
export function logReads<Config>(shared: LogHarness<Config>): void {
  describe('read', () => {
    const harness = new LogHarness(shared.plugin, shared.options);
    let log: LogProvider;
    beforeAll(async () => {
      log = (await harness.open()).log;
      const appends = all.map((n) =>
        log.append(`s-${n % 3}`, [{ ...numbered(n), type: n % 2 ? 'x-c-B' : 'x-c-A' }], 'any'),
      );
      await Promise.all(appends);
    });
    afterAll(() => harness.closeAll());

    it('reads everything forwards and backwards, in batches that are bounded', async () => {
      expect(numbersOf(await readAll(log))).toEqual(all);
      expect(numbersOf(await readAll(log, { direction: 'backwards' }))).toEqual(reversed);
      for await (const batch of log.read({})) {
        expect(batch.length).toBeGreaterThan(0);
        expect(batch.length).toBeLessThanOrEqual(readBatchMax);
      }
    });

    it('reads ranges of positions', async () => {
      for (const [from, to] of [
        [0, 0],
        [63, 64],
        [64, 127],
        [1, 4099],
        [total - 1, total + 5],
        [5000, 4999],
      ] as const) {
        const expected = all.filter((n) => n >= from && n <= to);
        expect(numbersOf(await readAll(log, { from, to }))).toEqual(expected);
        expect(numbersOf(await readAll(log, { from: to, to: from, direction: 'backwards' }))).toEqual(
          expected.reverse(),
        );
      }
      expect(await readAll(log, { from: total })).toEqual([]);
      expect(numbersOf(await readAll(log, { from: -5, to: 1 }))).toEqual([0, 1]);
      expect(numbersOf(await readAll(log, { from: 2, direction: 'backwards' }))).toEqual([2, 1, 0]);
    });

    it('reads a stream by revision, forwards and backwards', async () => {
      const mine = all.filter((n) => n % 3 === 1);
      expect(numbersOf(await readAll(log, { stream: 's-1' }))).toEqual(mine);
      expect(numbersOf(await readAll(log, { stream: 's-1', direction: 'backwards' }))).toEqual([...mine].reverse());
      for (const from of [0, 1, 20, 21, 22, 2000, mine.length - 1]) {
        expect(numbersOf(await readAll(log, { stream: 's-1', from, limit: 30 }))).toEqual(mine.slice(from, from + 30));
        expect(numbersOf(await readAll(log, { stream: 's-1', from, direction: 'backwards', limit: 30 }))).toEqual(
          mine.slice(Math.max(0, from - 29), from + 1).reverse(),
        );
      }
      expect(await readAll(log, { stream: 's-1', from: mine.length })).toEqual([]);
      expect(await readAll(log, { stream: 'nobody' })).toEqual([]);
      expect(await readAll(log, { stream: 's-' })).toEqual([]);
    });

    it('stops at the limit', async () => {
      for (const limit of [0, 1, 64, 65, 4097]) {
        expect(numbersOf(await readAll(log, { limit }))).toEqual(all.slice(0, limit));
        expect(numbersOf(await readAll(log, { limit, direction: 'backwards' }))).toEqual(reversed.slice(0, limit));
        expect(await readAll(log, { limit, filter: { types: ['x-c-B'] } })).toHaveLength(Math.min(limit, total / 2));
      }
    });

    it('filters by type and stream, exactly and by prefix', async () => {
      const filtered = async (filter: { types?: string[]; streams?: string[] }) =>
        numbersOf(await readAll(log, { filter }));
      expect(await filtered({ types: ['x-c-B'] })).toEqual(all.filter((n) => n % 2 === 1));
      expect(await filtered({ types: ['x-c-*'] })).toEqual(all);
      expect(await filtered({ types: ['x-c'] })).toEqual([]);
      expect(await filtered({ streams: ['s-0', 's-2'] })).toEqual(all.filter((n) => n % 3 !== 1));
      expect(await filtered({ streams: ['s-*'], types: ['x-c-A', 'nothing'] })).toEqual(all.filter((n) => n % 2 === 0));
      expect(await filtered({ streams: ['s-1'], types: ['x-c-A'] })).toEqual(
        all.filter((n) => n % 3 === 1 && n % 2 === 0),
      );
    });

    it('reads up to the head as it is at the call', async () => {
      const { log: growing } = await harness.open();
      await growing.append('a', [numbered(0)], 'none');
      const range = growing.read({});
      const ofStream = growing.read({ stream: 'a' });
      await growing.append('a', [numbered(1)], 0);
      const seen: number[] = [];
      for await (const batch of range) seen.push(...numbersOf(batch));
      for await (const batch of ofStream) seen.push(...numbersOf(batch));
      expect(seen).toEqual([0, 0]);
    });

    it('reads streams while they are appended to, and never what is not acknowledged yet by its own head', async () => {
      const { log: busy } = await harness.open();
      const appends: Promise<unknown>[] = [];
      for (let round = 0; round < 50; round++) {
        for (let n = 0; n < 10; n++) appends.push(busy.append(`s-${n % 2}`, [numbered(round)], 'any'));
        await turns(1);
        const revision = await busy.revision('s-1');
        const head = busy.head();
        const events = await readAll(busy, { stream: 's-1' });
        expect(events.map((event) => event.revision)).toEqual(events.map((_, index) => index));
        expect(events.length).toBeGreaterThan(revision);
        expect(events.filter((event) => event.position <= head)).toHaveLength(revision + 1);
      }
      await Promise.all(appends);
      expect(await busy.revision('s-1')).toBe(249);
    });
  });
}
