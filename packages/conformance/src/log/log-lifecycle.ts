import type { LogProvider } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LogHarness, numbered, type OpenLog, readAll } from './log-harness.ts';

/** What snapshots, verifying, closing and opening again promise. */
export function logLifecycle<Config>(harness: LogHarness<Config>): void {
  const { durable } = harness.options;
  let opened: OpenLog;
  let log: LogProvider;
  const open = async () => {
    opened = await harness.open();
    log = opened.log;
  };

  describe('snapshots', () => {
    beforeEach(open);
    afterEach(() => harness.closeAll());

    it('keeps the newest of a key and a version, detached', async () => {
      const state = { nodes: [1, 2], names: new Map([['a', { deep: true }]]) };
      expect(await log.snapshots.load('p', 1)).toBeUndefined();
      await log.snapshots.save('p', { version: 1, position: 4, state });
      state.nodes.push(3);
      const loaded = await log.snapshots.load('p', 1);
      expect(loaded).toEqual({
        version: 1,
        position: 4,
        state: { nodes: [1, 2], names: new Map([['a', { deep: true }]]) },
      });
      (loaded!.state as typeof state).nodes.push(9);
      expect(((await log.snapshots.load('p', 1))!.state as typeof state).nodes).toEqual([1, 2]);
      expect(await log.snapshots.load('p', 2)).toBeUndefined();
      expect(await log.snapshots.load('q', 1)).toBeUndefined();
      await log.snapshots.save('p', { version: 2, position: 5, state: 'new' });
      expect(await log.snapshots.load('p', 1)).toBeUndefined();
      expect(await log.snapshots.load('p', 2)).toMatchObject({ position: 5, state: 'new' });
    });
  });

  describe('verify', () => {
    beforeEach(open);
    afterEach(() => harness.closeAll());

    it('finds a sound log sound', async () => {
      expect(await log.verify()).toEqual({ ok: true, events: 0, first: 0, streams: 0, head: -1, damages: [] });
      for (let n = 0; n < 200; n++) await log.append(`s-${n % 9}`, [numbered(n)], 'any');
      let progress = 0;
      const report = await log.verify((positions) => {
        progress = positions;
      });
      expect(report).toEqual({ ok: true, events: 200, first: 0, streams: 9, head: 199, damages: [] });
      expect(progress).toBe(200);
    });
  });

  describe('close', () => {
    beforeEach(open);
    afterEach(() => harness.closeAll());

    it('refuses everything afterwards', async () => {
      await log.append('a', [numbered(0)], 'none');
      await opened.close();
      await expect(log.append('a', [numbered(1)], 0)).rejects.toMatchObject({ code: 'LOG_CLOSED' });
      await expect(log.revision('a')).rejects.toMatchObject({ code: 'LOG_CLOSED' });
      await expect((async () => readAll(log))()).rejects.toMatchObject({ code: 'LOG_CLOSED' });
      expect(opened.context.failures).toEqual([]);
    });

    it('finishes the appends that were under way', async () => {
      const appends = Array.from({ length: 50 }, (_, n) => log.append('a', [numbered(n)], 'any'));
      await opened.close();
      expect((await Promise.all(appends)).map((result) => result.first)).toEqual(appends.map((_, n) => n));
    });
  });

  describe('open again', () => {
    beforeEach(open);
    afterEach(() => harness.closeAll());

    if (!durable) {
      it('is empty', async () => {
        await log.append('a', [numbered(0)], 'none');
        log = await opened.reopen();
        expect(log.head()).toBe(-1);
      });
      return;
    }

    it('is as it was', async () => {
      for (let n = 0; n < 300; n++) await log.append(`s-${n % 7}`, [numbered(n), numbered(-n)], 'any');
      await log.snapshots.save('p', { version: 1, position: 9, state: [1] });
      const before = await readAll(log);
      for (let round = 0; round < 3; round++) {
        log = await opened.reopen();
        expect(log.head()).toBe(599 + round);
        expect((await readAll(log)).slice(0, 600)).toEqual(before);
        expect(await readAll(log, { stream: 's-3' })).toEqual(before.filter((event) => event.stream === 's-3'));
        expect(await log.revision('s-3')).toBe(85);
        expect(await log.snapshots.load('p', 1)).toMatchObject({ state: [1] });
        await expect(log.append('s-3', [numbered(0)], 84)).rejects.toMatchObject({ code: 'REVISION_CONFLICT' });
        await log.append('later', [numbered(round)], round === 0 ? 'none' : round - 1);
        expect(await log.verify()).toMatchObject({ ok: true, events: 601 + round, streams: 8 });
      }
    });
  });
}
