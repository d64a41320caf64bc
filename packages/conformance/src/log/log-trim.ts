import { type LogProvider, newId } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Collector, type LogHarness, numbered, numbersOf, type OpenLog, readAll, turns } from './log-harness.ts';

const total = 2000;
const streams = 7;

/** What trimming promises. */
export function logTrim<Config>(harness: LogHarness<Config>): void {
  describe('trim', () => {
    let opened: OpenLog;
    let log: LogProvider;
    /** Event n at position n in stream `s-<n mod 7>`; a snapshot of the first 1,500. */
    beforeEach(async () => {
      opened = await harness.open();
      log = opened.log;
      for (let n = 0; n < total; n++) void log.append(`s-${n % streams}`, [numbered(n)], 'any');
      await log.append('once', [numbered(total)], 'none');
      await log.snapshots.save('p', { version: 1, position: 1499, state: null });
    });
    afterEach(() => harness.closeAll());

    if (harness.plugin.supports?.trim === false) {
      it('is refused by a log that cannot, and removes nothing', async () => {
        await expect(log.trim(1)).rejects.toMatchObject({ code: 'LOG_TRIM_REFUSED' });
        expect(log.first()).toBe(0);
        expect(await readAll(log)).toHaveLength(total + 1);
      });
      return;
    }

    it('removes the oldest events, none at or after the position, and says where the log begins', async () => {
      expect(log.first()).toBe(0);
      const { first, removed } = await log.trim(1000);
      expect(first).toBeLessThanOrEqual(1000);
      expect(first).toBeGreaterThan(1000 - 100);
      expect(removed).toBe(first);
      expect(log.first()).toBe(first);
      expect(log.head()).toBe(total);
      expect(numbersOf(await readAll(log))).toEqual(Array.from({ length: total + 1 - first }, (_, n) => first + n));
      expect(await log.trim(first)).toEqual({ first, removed: 0 });
      expect(await log.trim(0)).toEqual({ first, removed: 0 });
    });

    it('refuses what the oldest snapshot does not cover, and names it', async () => {
      await expect(log.trim(1501)).rejects.toMatchObject({
        code: 'LOG_TRIM_REFUSED',
        details: { before: 1501, allowed: 1500, snapshot: 'p' },
      });
      await log.snapshots.save('q', { version: 3, position: 99, state: null });
      expect(await log.snapshots.list()).toEqual([
        { key: 'p', version: 1, position: 1499 },
        { key: 'q', version: 3, position: 99 },
      ]);
      await expect(log.trim(1000)).rejects.toMatchObject({ details: { allowed: 100, snapshot: 'q' } });
      await log.snapshots.remove('q');
      await log.trim(1000);
      await log.snapshots.remove('p');
      await expect(log.trim(1001)).rejects.toMatchObject({ code: 'LOG_TRIM_REFUSED', details: { allowed: 0 } });
      await expect(log.trim(-1)).rejects.toMatchObject({ code: 'LOG_TRIM_REFUSED' });
      await expect(log.trim(Number.NaN)).rejects.toMatchObject({ code: 'LOG_TRIM_REFUSED' });
    });

    it('never removes the last event', async () => {
      await log.snapshots.save('p', { version: 1, position: total, state: null });
      const { first } = await log.trim(total + 1);
      expect(first).toBeLessThanOrEqual(total);
      expect(numbersOf(await readAll(log)).at(-1)).toBe(total);
    });

    it('fails a read from before, and names both positions', async () => {
      const { first } = await log.trim(1000);
      const before = { code: 'LOG_TRIMMED', details: { position: first - 1, first } };
      await expect((async () => readAll(log, { from: first - 1 }))()).rejects.toMatchObject(before);
      await expect((async () => readAll(log, { from: first - 1, to: first }))()).rejects.toMatchObject(before);
      const backwards = { from: first + 1, to: first - 1, direction: 'backwards' } as const;
      await expect((async () => readAll(log, backwards))()).rejects.toMatchObject(before);
      expect(numbersOf(await readAll(log, { from: first, to: first }))).toEqual([first]);
      expect(numbersOf(await readAll(log, { direction: 'backwards' })).at(-1)).toBe(first);
      expect(numbersOf(await readAll(log, { limit: 1 }))).toEqual([first]);
    });

    it('goes on with the revisions of streams, and fails a read of those that are gone', async () => {
      const { first } = await log.trim(1000);
      for (let which = 0; which < streams; which++) {
        const stream = `s-${which}`;
        const mine = (await readAll(log)).filter((event) => event.stream === stream);
        const kept = mine[0]!.revision;
        expect(kept).toBe(Math.ceil((first - which) / streams));
        expect(await readAll(log, { stream })).toEqual(mine);
        expect(await readAll(log, { stream, from: kept })).toEqual(mine);
        expect(await readAll(log, { stream, direction: 'backwards' })).toEqual([...mine].reverse());
        await expect((async () => readAll(log, { stream, from: kept - 1 }))()).rejects.toMatchObject({
          code: 'LOG_TRIMMED',
          details: { stream, revision: kept - 1, first: kept },
        });
        const last = mine.at(-1)!.revision;
        expect(await log.append(stream, [numbered(-1)], last)).toMatchObject({ revision: last + 1 });
      }
    });

    it('knows a stream none of whose events are kept', async () => {
      await log.append('gone', [numbered(0), numbered(1)], 'none');
      for (let n = 0; n < 300; n++) await log.append('after', [numbered(n)], 'any');
      await log.snapshots.save('p', { version: 1, position: log.head(), state: null });
      await log.trim(log.head() - 100);
      expect(await readAll(log, { stream: 'gone' })).toEqual([]);
      expect(await log.revision('gone')).toBe(1);
      await expect(log.append('gone', [numbered(2)], 'none')).rejects.toMatchObject({ code: 'REVISION_CONFLICT' });
      expect(await log.append('gone', [numbered(2)], 1)).toMatchObject({ revision: 2 });
      expect(numbersOf(await readAll(log, { stream: 'gone' }))).toEqual([2]);
    });

    it('ends a subscription that asks for what is gone, and serves the others', async () => {
      const { first } = await log.trim(1000);
      const early = new Collector(log.subscribe(first - 1));
      await early.ended();
      expect(early.error).toMatchObject({ code: 'LOG_TRIMMED', details: { position: first - 1, first } });
      expect(early.events).toEqual([]);
      const kept = new Collector(log.subscribe(first));
      expect(numbersOf(await kept.reaches(total + 1 - first))[0]).toBe(first);
      await log.append('s-0', [numbered(-1)], 'any');
      expect(numbersOf(await kept.reaches(total + 2 - first)).at(-1)).toBe(-1);
    });

    it('ends a subscription that a trim overtakes, without a gap before', async () => {
      let release = () => {};
      const slow = new Collector(
        log.subscribe(0, undefined, {
          ready: () =>
            new Promise<void>((resolve) => {
              release = resolve;
            }),
        }),
      );
      await slow.reaches(1);
      const seen = slow.events.length;
      for (let n = 0; n < 12_000; n += 500) {
        const events = Array.from({ length: 500 }, (_, index) => numbered(total + 1 + n + index));
        await log.append('s-0', events, 'any');
      }
      await log.snapshots.save('p', { version: 1, position: log.head(), state: null });
      const { first } = await log.trim(log.head());
      expect(first).toBeGreaterThan(seen);
      release();
      await turns(3);
      release();
      await slow.ended();
      expect(slow.error).toMatchObject({ code: 'LOG_TRIMMED', details: { position: slow.events.length, first } });
      expect(numbersOf(slow.events)).toEqual(slow.events.map((_, n) => n));
    });

    it('still recognises the ids of events that are kept', async () => {
      const id = newId();
      const { first: position } = await log.append('s-0', [numbered(1, { id })], 'any');
      await log.snapshots.save('p', { version: 1, position: log.head(), state: null });
      await log.trim(position);
      expect(await log.append('s-0', [numbered(1, { id })], 'any')).toMatchObject({ first: position, duplicate: true });
    });

    it('finds the rest sound', async () => {
      const { first } = await log.trim(1000);
      const report = await log.verify();
      expect(report).toEqual({
        ok: true,
        events: total + 1 - first,
        first,
        streams: streams + 1,
        head: total,
        damages: [],
      });
    });

    if (!harness.options.durable) return;

    it('is as it was after opening again, and can be trimmed further', async () => {
      const { first } = await log.trim(1000);
      const kept = await readAll(log);
      const old = (await readAll(log, { stream: 's-1', limit: 1 }))[0]!;
      for (let round = 0; round < 2; round++) {
        log = await opened.reopen();
        expect(log.first()).toBe(first);
        expect(log.head()).toBe(total);
        expect(await readAll(log)).toEqual(kept);
        expect((await readAll(log, { stream: 's-1', limit: 1 }))[0]).toEqual(old);
        expect(await log.verify()).toMatchObject({ ok: true, first, streams: streams + 1 });
      }
      const further = await log.trim(1500);
      expect(further.first).toBeGreaterThan(first);
      expect(await readAll(log)).toEqual(kept.slice(further.first - first));
      log = await opened.reopen();
      expect(await log.append('s-1', [numbered(-1)], 'any')).toMatchObject({ first: total + 1, revision: 286 });
      expect(await log.verify()).toMatchObject({ ok: true, first: further.first });
    });
  });
}
