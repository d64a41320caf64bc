import { errorCode, type LogProvider, newId } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LogHarness, numbered, numbersOf, readAll } from './log-harness.ts';

/** What appending promises. */
export function logAppends<Config>(harness: LogHarness<Config>): void {
  describe('append', () => {
    let log: LogProvider;
    beforeEach(async () => {
      log = (await harness.open()).log;
    });
    afterEach(() => harness.closeAll());

    it('gives positions and revisions without gaps, and fills in what is left out', async () => {
      const before = Date.now();
      expect(log.head()).toBe(-1);
      expect(await log.revision('a')).toBe(-1);
      expect(await log.append('a', [numbered(0), numbered(1)], 'none')).toEqual({
        first: 0,
        last: 1,
        revision: 1,
        duplicate: false,
      });
      expect(await log.append('b', [numbered(2)], 'any')).toEqual({ first: 2, last: 2, revision: 0, duplicate: false });
      expect(await log.append('a', [numbered(3)], 1)).toEqual({ first: 3, last: 3, revision: 2, duplicate: false });
      expect(log.head()).toBe(3);
      expect(await log.revision('a')).toBe(2);
      const events = await readAll(log);
      expect(events.map(({ position, stream, revision }) => [position, stream, revision])).toEqual([
        [0, 'a', 0],
        [1, 'a', 1],
        [2, 'b', 0],
        [3, 'a', 2],
      ]);
      for (const event of events) {
        expect(event.meta).toEqual({ producer: { plugin: 'unknown', generation: 0 }, schema: 1 });
        expect(event.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
        expect(event.time).toBeGreaterThanOrEqual(before);
        expect(event.time).toBeLessThanOrEqual(Date.now());
      }
      expect(new Set(events.map((event) => event.id)).size).toBe(4);
    });

    it('keeps what the writer gave', async () => {
      const meta = {
        causation: 17,
        correlation: 'c',
        producer: { plugin: 'p', generation: 3 },
        schema: 2,
        traceparent: '00-1-2-01',
      };
      const data = {
        text: 'ü€😀\n"',
        list: [1, -2.5, null, true, [], {}],
        deep: { a: { b: { c: '' } } },
        'odd key': 1,
      };
      const id = newId();
      await log.append('ströme-1', [{ type: 'x-conformance-Full', data, id, time: 12.5, meta }], 'none');
      await log.append('ströme-1', [{ type: 'x-conformance-Bare', data: 'text' }], 0);
      const [full, bare] = await readAll(log);
      expect(full).toEqual({
        position: 0,
        stream: 'ströme-1',
        revision: 0,
        type: 'x-conformance-Full',
        data,
        id,
        time: 12.5,
        meta,
      });
      expect(bare?.data).toBe('text');
    });

    it('refuses an append at another revision, and writes nothing of it', async () => {
      await log.append('a', [numbered(0), numbered(1)], 'none');
      for (const [at, actual] of [
        ['none', 1],
        [0, 1],
        [2, 1],
      ] as const) {
        await expect(log.append('a', [numbered(8), numbered(9)], at)).rejects.toMatchObject({
          code: 'REVISION_CONFLICT',
          details: { stream: 'a', expected: at, actual },
        });
      }
      await expect(log.append('b', [numbered(9)], 0)).rejects.toMatchObject({
        code: 'REVISION_CONFLICT',
        details: { stream: 'b', expected: 0, actual: -1 },
      });
      expect(numbersOf(await readAll(log))).toEqual([0, 1]);
      expect(await log.revision('b')).toBe(-1);
    });

    it('lets exactly one of many concurrent writers win each revision', async () => {
      for (let round = 0; round < 5; round++) {
        const at = (await log.revision('a')) < 0 ? 'none' : await log.revision('a');
        const tries = await Promise.allSettled(
          Array.from({ length: 20 }, (_, n) => log.append('a', [numbered(round * 100 + n)], at)),
        );
        const refused = tries.filter((outcome) => outcome.status === 'rejected');
        expect(refused).toHaveLength(19);
        expect(refused.every((outcome) => errorCode(outcome.reason) === 'REVISION_CONFLICT')).toBe(true);
      }
      expect(await readAll(log)).toHaveLength(5);
    });

    it('takes effect in the order of the calls, each append whole', async () => {
      const appends = Array.from({ length: 300 }, (_, n) =>
        log.append(`s-${n % 7}`, [numbered(n * 2), numbered(n * 2 + 1)], 'any'),
      );
      const results = await Promise.all(appends);
      expect(results.map((result) => result.first)).toEqual(results.map((_, n) => n * 2));
      expect(numbersOf(await readAll(log))).toEqual(Array.from({ length: 600 }, (_, n) => n));
    });

    it('takes an append that is larger than any batch', async () => {
      const result = await log.append(
        'bulk',
        Array.from({ length: 10_000 }, (_, n) => numbered(n)),
        'none',
      );
      expect(result).toEqual({ first: 0, last: 9999, revision: 9999, duplicate: false });
      expect(numbersOf(await readAll(log, { stream: 'bulk' }))).toEqual(Array.from({ length: 10_000 }, (_, n) => n));
    });

    it('refuses what is no append', async () => {
      await expect(log.append('', [numbered(0)], 'any')).rejects.toMatchObject({ code: 'EVENT_INVALID' });
      await expect(log.append('a', [], 'any')).rejects.toMatchObject({ code: 'EVENT_INVALID' });
      await expect(log.append('a', [{ type: '', data: 1 }], 'any')).rejects.toMatchObject({ code: 'EVENT_INVALID' });
      await expect(log.append('a', [numbered(0)], -1)).rejects.toMatchObject({ code: 'REVISION_CONFLICT' });
      await expect(log.append('a', [numbered(0)], 0.5)).rejects.toMatchObject({ code: 'REVISION_CONFLICT' });
      expect(log.head()).toBe(-1);
    });
  });
}
