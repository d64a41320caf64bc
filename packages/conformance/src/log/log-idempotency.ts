import { type LogProvider, newId } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LogHarness, numbered, numbersOf, type OpenLog, readAll } from './log-harness.ts';

/** What appending the same ids again promises. */
export function logIdempotency<Config>(harness: LogHarness<Config>): void {
  describe('idempotency', () => {
    let opened: OpenLog;
    let log: LogProvider;
    beforeEach(async () => {
      opened = await harness.open();
      log = opened.log;
    });
    afterEach(() => harness.closeAll());

    it('answers a repeated append with the original positions, whatever the expected revision', async () => {
      const events = [numbered(0, { id: newId() }), numbered(1, { id: newId() })];
      const original = await log.append('a', events, 'none');
      await log.append('b', [numbered(2)], 'none');
      await log.append('a', [numbered(3)], 1);
      for (const at of ['none', 'any', 0, 1, 2, 77] as const) {
        expect(await log.append('a', events, at)).toEqual({ ...original, duplicate: true });
      }
      expect(await log.append('a', [events[1]!], 'any')).toEqual({ first: 1, last: 1, revision: 1, duplicate: true });
      expect(numbersOf(await readAll(log))).toEqual([0, 1, 2, 3]);
    });

    it('answers repeated appends that are under way at the same time', async () => {
      const events = [numbered(0, { id: newId() })];
      const results = await Promise.all(Array.from({ length: 10 }, () => log.append('a', events, 'none')));
      expect(results.filter((result) => !result.duplicate)).toHaveLength(1);
      expect(new Set(results.map((result) => result.first))).toEqual(new Set([0]));
      expect(log.head()).toBe(0);
    });

    it('knows the ids that it made itself', async () => {
      await log.append('a', [numbered(0)], 'none');
      const [event] = await readAll(log);
      expect(await log.append('a', [event!], 'any')).toMatchObject({ first: 0, duplicate: true });
    });

    it('takes the same id in another stream', async () => {
      const id = newId();
      await log.append('a', [numbered(0, { id })], 'none');
      expect(await log.append('b', [numbered(1, { id })], 'none')).toMatchObject({ first: 1, duplicate: false });
      expect(await log.append('a', [numbered(0, { id })], 'any')).toMatchObject({ first: 0, duplicate: true });
      expect(await log.append('b', [numbered(1, { id })], 'any')).toMatchObject({ first: 1, duplicate: true });
    });

    it('refuses a partial overlap and names the id', async () => {
      const known = newId();
      const fresh = newId();
      await log.append('a', [numbered(0, { id: known })], 'none');
      for (const events of [
        [numbered(0, { id: known }), numbered(1, { id: fresh })],
        [numbered(1, { id: fresh }), numbered(0, { id: known })],
      ]) {
        const refused = log.append('a', events, 0);
        await expect(refused).rejects.toMatchObject({ code: 'REVISION_CONFLICT' });
        await expect(refused).rejects.toThrow(fresh);
      }
      await expect(log.append('a', [numbered(1, { id: fresh }), numbered(2, { id: fresh })], 0)).rejects.toMatchObject({
        code: 'EVENT_INVALID',
      });
      expect(log.head()).toBe(0);
    });

    it('knows ids that are long past, and ids that are no UUIDv7', async () => {
      const old = '01000000-0000-7000-8000-000000000000';
      const odd = 'an id of one’s own';
      await log.append('a', [numbered(0, { id: old }), numbered(1, { id: odd })], 'none');
      // More events than any window of recent ids needs to hold.
      for (let batch = 0; batch < 20; batch++) {
        await log.append(
          'filler',
          Array.from({ length: 10_000 }, (_, n) => numbered(n)),
          'any',
        );
      }
      expect(await log.append('a', [numbered(0, { id: old })], 'any')).toMatchObject({ first: 0, duplicate: true });
      expect(await log.append('a', [numbered(1, { id: odd })], 1)).toMatchObject({ first: 1, duplicate: true });
      expect(await log.append('a', [numbered(2, { id: 'another' })], 1)).toMatchObject({
        revision: 2,
        duplicate: false,
      });
      expect(await log.append('a', [numbered(3, { id: `${old.slice(0, -1)}1` })], 2)).toMatchObject({ revision: 3 });
    });

    if (!harness.options.durable) return;
    it('knows ids from before it was opened', async () => {
      const events = [numbered(0, { id: newId() }), numbered(1, { id: newId() })];
      const original = await log.append('a', events, 'none');
      log = await opened.reopen();
      expect(await log.append('a', events, 'none')).toEqual({ ...original, duplicate: true });
      expect(await log.append('a', [numbered(2, { id: newId() })], 'any')).toMatchObject({ duplicate: false });
    });
  });
}
