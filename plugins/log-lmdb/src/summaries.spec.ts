import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { segmentPositions } from '@cloudos/event-log';
import { type GlobalRange, type LogProvider, newId } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withChecksum } from './checked-row.ts';
import { summariesBegin, summariesEnd, summaryKey } from './keys.ts';
import { LmdbEventLog } from './lmdb.log.ts';
import { openLogReader } from './reader.ts';
import { openRows, type Rows } from './store.ts';

const segments = 3;
const total = segments * segmentPositions + 100;
const rare = { filter: { types: ['x-test-Rare'] } } as const;
/** One in each segment, and one in the part of a segment at the end. */
const rareAt = [17, 4_095, 4_096, 8_200, total - 1];

async function positions(log: Pick<LogProvider, 'read'>, range: GlobalRange): Promise<number[]> {
  const found: number[] = [];
  for await (const batch of log.read(range)) found.push(...batch.map(({ position }) => position));
  return found;
}

describe('summaries of segments', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cloudos-lmdb-'));
    const log = await LmdbEventLog.open({ directory });
    const types = (n: number) => (rareAt.includes(n) ? 'x-test-Rare' : 'x-test-Common');
    for (let n = 0; n < total; n += 50) {
      const events = Array.from({ length: Math.min(50, total - n) }, (_, at) => ({ type: types(n + at), data: {} }));
      void log.append(`s-${n % 7}`, events, 'any');
    }
    await log.close();
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const withRows = async (work: (rows: Rows) => void | Promise<void>) => {
    const rows = openRows({ directory, readOnly: false });
    await work(rows);
    await rows.flushed;
    await rows.close();
  };
  const kept = (rows: Rows) => [...rows.getKeys({ start: summariesBegin, end: summariesEnd })].length;
  const opened = async <Result>(work: (log: LmdbEventLog) => Promise<Result>): Promise<Result> => {
    const log = await LmdbEventLog.open({ directory });
    try {
      return await work(log);
    } finally {
      await log.close();
    }
  };

  it('are kept by the first read with a filter, of the segments that have ended', async () => {
    await opened(async (log) => {
      await positions(log, {});
      await positions(log, { from: 10, to: 500, ...rare });
    });
    await withRows((rows) => expect(kept(rows)).toBe(0));
    expect(await opened((log) => positions(log, rare))).toEqual(rareAt);
    await withRows((rows) => expect(kept(rows)).toBe(segments));
  });

  it('spare a read the blocks in which nothing matches', async () => {
    await opened((log) => positions(log, rare));
    let reads = 0;
    const counting = (rows: Rows): Rows =>
      new Proxy(rows, {
        get(target, name) {
          if (name === 'getBinaryFast') reads++;
          const value: unknown = Reflect.get(target, name);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    const log = await LmdbEventLog.open({ directory, wrapRows: counting });
    reads = 0;
    expect(await positions(log, { ...rare, to: segments * segmentPositions - 1 })).toEqual(rareAt.slice(0, -1));
    // Of some two hundred and fifty.
    expect(reads).toBeLessThan(30);
    await log.close();
  });

  it('are made anew where they cannot be read, and found out by verify where they are not those of the events', async () => {
    await opened((log) => positions(log, rare));
    let sound: Buffer | undefined;
    await withRows(async (rows) => {
      sound = Buffer.from(rows.get(summaryKey(0)) as Buffer);
      const damaged = Buffer.from(sound);
      damaged[20] = (damaged[20] as number) ^ 1;
      await rows.put(summaryKey(0), damaged);
    });
    const found = await opened(async (log) => [await log.verify(), await positions(log, rare)]);
    expect(found).toMatchObject([{ ok: true }, rareAt]);
    await withRows(async (rows) => {
      expect(rows.get(summaryKey(0))).toEqual(sound);
      await rows.put(summaryKey(1), withChecksum((rows.get(summaryKey(2)) as Buffer).subarray(4)));
    });
    const report = await opened((log) => log.verify());
    expect(report).toMatchObject({ ok: false, damages: [{ position: segmentPositions, until: 2 * segmentPositions }] });
  });

  it('are used and not written by a reader beside the writer', async () => {
    await opened(async (log) => {
      const reader = await openLogReader(directory);
      expect(await positions(reader, rare)).toEqual(rareAt);
      expect(await positions(log, { ...rare, from: segmentPositions })).toEqual(rareAt.slice(2));
      await log.append('s-new', [{ type: 'x-test-Rare', data: {}, id: newId() }], 'none');
      expect(await positions(reader, rare)).toEqual([...rareAt, total]);
      await reader.close();
    });
    await withRows((rows) => expect(kept(rows)).toBe(segments - 1));
  });

  it('go when their segments are trimmed', async () => {
    await opened(async (log) => {
      await positions(log, rare);
      await log.snapshots.save('p', { version: 1, position: total - 1, state: null });
      const { first } = await log.trim(segmentPositions + 200);
      expect(await positions(log, { ...rare })).toEqual(rareAt.filter((position) => position >= first));
      expect(await log.verify()).toMatchObject({ ok: true });
    });
    await withRows((rows) => expect(kept(rows)).toBe(segments - 1));
  });
});
