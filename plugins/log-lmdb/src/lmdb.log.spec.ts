import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { checkpointBytes, checkpointDelayMs } from './checkpointer.ts';
import { appendsInFlightMax } from './committer.ts';
import { LmdbEventLog } from './lmdb.log.ts';
import { openLogReader } from './reader.ts';
import { eventBytesMax } from './unstorable.ts';

const event = (n: number) => ({ type: 'x-test-Numbered', data: { n } });

describe('the log of one writing process', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cloudos-lmdb-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('refuses one append more than may wait, and goes on afterwards', async () => {
    const log = await LmdbEventLog.open({ directory });
    const waiting = Array.from({ length: appendsInFlightMax }, (_, n) => log.append('s', [event(n)], 'any'));
    await expect(log.append('s', [event(-1)], 'any')).rejects.toMatchObject({ code: 'LOG_OVERLOADED' });
    expect(await Promise.all(waiting)).toHaveLength(appendsInFlightMax);
    expect(await log.append('s', [event(0)], appendsInFlightMax - 1)).toMatchObject({ first: appendsInFlightMax });
    await log.close();
  });

  it('refuses an event that is too large, and stores those appended beside it', async () => {
    const log = await LmdbEventLog.open({ directory });
    const large = { type: 'x-test-Large', data: 'x'.repeat(eventBytesMax + 1) };
    const [before, refused, after] = await Promise.allSettled([
      log.append('s', [event(1)], 'none'),
      log.append('t', [large], 'none'),
      log.append('s', [event(2)], 0),
    ]);
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'EVENT_TOO_LARGE' } });
    expect(before).toMatchObject({ status: 'fulfilled', value: { first: 0 } });
    expect(after).toMatchObject({ status: 'fulfilled', value: { first: 1, revision: 1 } });
    expect(await log.verify()).toMatchObject({ ok: true, events: 2 });
    await log.close();
  });

  it('reads a stream that goes on after all of it was trimmed, whose index was written before', async () => {
    let log = await LmdbEventLog.open({ directory });
    await log.append('gone', [event(0), event(1)], 'none');
    for (let n = 0; n < 5; n++)
      await log.append(
        'after',
        Array.from({ length: 50 }, (_, at) => event(at)),
        'any',
      );
    await log.close();
    log = await LmdbEventLog.open({ directory });
    await log.snapshots.save('p', { version: 1, position: log.head(), state: null });
    await log.trim(log.head());
    await log.append('gone', [event(2)], 1);
    const found: unknown[] = [];
    for await (const batch of log.read({ stream: 'gone' })) found.push(...batch.map(({ data }) => data));
    expect(found).toEqual([{ n: 2 }]);
    await log.close();
  });

  it('gives up when a commit does not settle, and refuses appends from then on', async () => {
    const failures: string[] = [];
    const log = await LmdbEventLog.open({
      directory,
      commitDeadlineMs: 50,
      onFailure: (error) => failures.push(error.code),
      wrapRows: (rows) =>
        new Proxy(rows, {
          get(target, name) {
            if (name === 'flushed') return new Promise(() => {});
            const value: unknown = Reflect.get(target, name);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        }),
    });
    await expect(log.append('s', [event(1)], 'any')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await expect(log.append('s', [event(2)], 'any')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(failures).toEqual(['LOG_UNAVAILABLE']);
    expect(log.head()).toBe(-1);
    await log.close();
  });

  it('gives up when the database does not take what is in the journal, and has it all when it is opened again', async () => {
    let log = await LmdbEventLog.open({ directory });
    await log.append('s', [event(0)], 'none');
    await vi.waitUntil(() => existsSync(join(directory, 'journal', 'segment-0')), { timeout: 60_000 });
    await log.close();
    const failed = new Promise<string>((resolve) => {
      void LmdbEventLog.open({
        directory,
        // Longer than the disk of a busy machine takes for what goes into the journal.
        commitDeadlineMs: 2_000,
        onFailure: (error) => resolve(error.code),
        wrapRows: (rows) =>
          new Proxy(rows, {
            get(target, name) {
              if (name === 'put') return () => new Promise(() => {});
              const value: unknown = Reflect.get(target, name);
              return typeof value === 'function' ? value.bind(target) : value;
            },
          }),
      }).then(async (opened) => {
        log = opened;
        await log.append('s', [event(1)], 0);
        expect(log.head()).toBe(1);
      });
    });
    expect(await failed).toBe('LOG_UNAVAILABLE');
    await expect(log.append('s', [event(2)], 1)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await log.close();
    const reader = await openLogReader(directory);
    expect(reader.head()).toBe(1);
    expect(await reader.verify()).toMatchObject({ ok: true, events: 2 });
    await reader.close();
  });

  it('stores what was appended, byte for byte, while blocks gather in memory faster than the database takes them', async () => {
    let log = await LmdbEventLog.open({ directory });
    const textOf = (n: number) => `${n}:`.padEnd(8 + ((n * 131) % 900), String.fromCharCode(97 + (n % 26)));
    const total = 60_000;
    for (let n = 0; n < total; ) {
      const appends: Promise<unknown>[] = [];
      for (let burst = 1 + ((n * 7) % 900); burst > 0 && n < total; burst--) {
        appends.push(log.append(`s-${n % 50}`, [{ type: 'x-test-Bulk', data: textOf(n++) }], 'any'));
      }
      await Promise.all(appends);
    }
    for (const isReopened of [false, true]) {
      if (isReopened) {
        await log.close();
        log = await LmdbEventLog.open({ directory });
      }
      for await (const batch of log.read({})) {
        for (const { position, data } of batch) if (data !== textOf(position)) throw new Error(`position ${position}`);
      }
      expect(await log.verify()).toMatchObject({ ok: true, events: total });
    }
    await log.close();
  }, 60_000);

  it('lets one of two writers have it', async () => {
    const both = await Promise.allSettled([LmdbEventLog.open({ directory }), LmdbEventLog.open({ directory })]);
    const opened = both.filter((result) => result.status === 'fulfilled');
    expect(opened).toHaveLength(1);
    expect(both.find((result) => result.status === 'rejected')).toMatchObject({ reason: { code: 'LOG_HELD' } });
    await opened[0]!.value.close();
  });

  it('may be opened in a directory that has the inode of one that is gone, while the lock of that one is still held', async () => {
    const gone = await LmdbEventLog.open({ directory });
    await rm(directory, { recursive: true });
    await mkdir(directory);
    const log = await LmdbEventLog.open({ directory });
    await log.close();
    await gone.close().catch(() => {});
  });

  it('shows a reader beside it what is durable', async () => {
    const log = await LmdbEventLog.open({ directory });
    await log.append('s', [event(0)], 'none');
    const reader = await openLogReader(directory);
    await log.append('s', [event(1)], 0);
    expect(reader.head()).toBe(1);
    const served: unknown[] = [];
    for await (const batch of reader.read({ stream: 's' })) served.push(...batch.map(({ data }) => data));
    expect(served).toEqual([{ n: 0 }, { n: 1 }]);
    await reader.close();
    await log.close();
  });

  it('disturbs the flushes of a trickle with few of the database', async () => {
    let flushes = 0;
    const log = await LmdbEventLog.open({
      directory,
      wrapRows: (rows) =>
        new Proxy(rows, {
          get(target, key) {
            if (key === 'flushed') flushes++;
            const value: unknown = Reflect.get(target, key, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        }),
    });
    // Until the first segment of the journal is there, appends go into the database.
    for (let before = -1; before < flushes; ) {
      before = flushes;
      await log.append('s', [event(0)], 'any');
    }
    flushes = 0;
    const begin = performance.now();
    while (performance.now() - begin < 1_000) await log.append('s', [event(0)], 'any');
    expect(flushes).toBeLessThanOrEqual(Math.ceil((performance.now() - begin) / checkpointDelayMs) + byVolume(log));
    await log.close();
  });
});

/** Checkpoints that as many events call for, each in a block of its own. */
function byVolume(log: LmdbEventLog): number {
  return Math.ceil(((log.head() + 1) * 4_500) / checkpointBytes);
}
