import { existsSync } from 'node:fs';
import { cp, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbEventLog, type LmdbEventLogOptions, openLogReader } from '@cloudos/log-lmdb';
import { type CloudosError, hasCode, type RecordedEvent } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

const seed = Number(process.env.CLOUDOS_SEED ?? Date.now() % 1_000_000);
const rounds = 200;
/** Appends that are in the journal alone. */
const journaled = 40;
const recordAlignment = 512;

type Rows = Parameters<NonNullable<LmdbEventLogOptions['wrapRows']>>[0];

/** A database that takes nothing any more once it is told to, and fails what it was given when that is over. */
function deafRows(): { wrapRows: (rows: Rows) => Rows; deafen: () => void; fail: () => void } {
  let isDeaf = false;
  let fail = () => {};
  const never = new Promise<never>((_, reject) => {
    fail = () => reject(new Error('it was deaf'));
  });
  never.catch(() => {});
  const wrapRows = (rows: Rows): Rows =>
    new Proxy(rows, {
      get(target, name) {
        if (isDeaf && name === 'put') return () => never;
        if (isDeaf && name === 'flushed') return never;
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  return {
    wrapRows,
    deafen: () => {
      isDeaf = true;
    },
    fail,
  };
}

const sample = (n: number) => ({ type: 'x-journal-Sample', data: { n, text: 'x'.repeat((n * 37) % 200) } });

async function readAll(log: { read: LmdbEventLog['read'] }): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for await (const batch of log.read({})) events.push(...batch);
  return events;
}

/** A log with a journal that is ready, closed. */
async function prepare(directory: string): Promise<void> {
  const log = await LmdbEventLog.open({ directory });
  await log.append('first', [sample(0)], 'none');
  await vi.waitUntil(() => existsSync(join(directory, 'journal', 'segment-0')), { timeout: 60_000 });
  await log.close();
}

/** Copies a log all of whose events but the first are in the journal alone. */
async function makeSample(from: string, to: string): Promise<RecordedEvent[]> {
  await prepare(from);
  const { wrapRows, deafen, fail } = deafRows();
  const log = await LmdbEventLog.open({ directory: from, wrapRows });
  deafen();
  for (let n = 0; n < journaled; n++) {
    const events = Array.from({ length: 1 + ((n * 7) % 90) }, (_, index) => sample(n * 100 + index));
    await log.append(`s-${n % 5}`, events, 'any');
  }
  const events = await readAll(log);
  expect(await log.verify()).toMatchObject({ ok: true, events: events.length });
  await cp(from, to, { recursive: true, filter: (path) => !path.endsWith('writer.lock') });
  fail();
  await log.close().catch(() => {});
  return events;
}

describe(`the journal in front of the database (CLOUDOS_SEED=${seed})`, () => {
  let root: string;
  let sound: string;
  let events: RecordedEvent[];
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cloudos-journal-'));
    sound = join(root, 'sound');
    events = await makeSample(join(root, 'original'), sound);
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  let copies = 0;
  async function copy(): Promise<string> {
    const directory = join(root, `copy-${copies++}`);
    await cp(sound, directory, { recursive: true });
    return directory;
  }

  it('is replayed into the database, whoever opens the log', async () => {
    const directory = await copy();
    const reader = await openLogReader(directory);
    expect(await readAll(reader)).toEqual(events);
    expect(await reader.verify()).toMatchObject({ ok: true, events: events.length });
    expect(await readAll({ read: () => reader.read({ stream: 's-3' }) })).toEqual(
      events.filter(({ stream }) => stream === 's-3'),
    );
    await reader.close();
    let log = await LmdbEventLog.open({ directory });
    const { first } = await log.append('s-1', [sample(1)], await log.revision('s-1'));
    expect(first).toBe(events.length);
    await log.close();
    await rm(join(directory, 'journal'), { recursive: true });
    log = await LmdbEventLog.open({ directory });
    expect((await readAll(log)).slice(0, -1)).toEqual(events);
    expect(await log.verify()).toMatchObject({ ok: true, events: events.length + 1 });
    await log.close();
  });

  it('loses a record that was being written and never acknowledged, and nothing else', async () => {
    const directory = await copy();
    const last = (await recordsOf(directory)).at(-1)!;
    await damage(last.path, last.at + last.bytes - 1);
    await expect(LmdbEventLog.open({ directory })).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      details: { position: last.first },
    });
    // As it is when the process ended before it could acknowledge the record.
    await acknowledge(directory, last.first - 1);
    for (let round = 0; round < 3; round++) {
      const log = await LmdbEventLog.open({ directory });
      expect(log.head()).toBe(last.first - 1 + round);
      await log.append('after', [sample(round)], 'any');
      expect((await readAll(log)).slice(0, last.first)).toEqual(events.slice(0, last.first));
      expect(await log.verify()).toMatchObject({ ok: true });
      await log.close();
    }
  });

  it('names the position of a record that was damaged after it was acknowledged', async () => {
    const records = await recordsOf(sound);
    for (const which of [0, 1, Math.floor(records.length / 2), records.length - 2]) {
      for (const place of ['head', 'body'] as const) {
        const directory = await copy();
        const { path, at, bytes, first } = (await recordsOf(directory))[which]!;
        await damage(path, place === 'head' ? at + 20 : at + bytes - 1);
        // Even where the file that says how far was acknowledged is gone.
        await rm(join(directory, 'acknowledged'));
        const named = { code: 'LOG_CORRUPT', details: { position: first } };
        await expect(LmdbEventLog.open({ directory }), `record ${which}, ${place}`).rejects.toMatchObject(named);
        await expect(openLogReader(directory), `record ${which}, ${place}`).rejects.toMatchObject(named);
      }
    }
  });

  it('is missed when it is gone', async () => {
    const directory = await copy();
    await rm(join(directory, 'journal'), { recursive: true });
    await expect(LmdbEventLog.open({ directory })).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      details: { position: 1 },
    });
  });

  it(`serves nothing but what was written, or names a position, after each of ${rounds} damages`, {
    timeout: 120_000,
  }, async () => {
    const random = new SeededRandom(seed);
    const outcomes = { refused: 0, harmless: 0 };
    const spans = await recordsOf(sound);
    const end = spans.at(-1)!.at + spans.at(-1)!.bytes;
    for (let round = 0; round < rounds; round++) {
      const directory = await copy();
      const path = join(directory, 'journal', 'segment-0');
      // Now and then behind the last record: there it does no harm.
      const at = round % 20 === 0 ? end + random.int(4096) : random.int(end);
      await damage(path, at, 1 + random.int(64), random);
      const what = `seed ${seed}, round ${round}, byte ${at}`;
      outcomes[await judge(directory, events, what)]++;
      await rm(directory, { recursive: true });
    }
    console.log(`seed ${seed}: ${JSON.stringify(outcomes)}`);
    expect(outcomes.refused).toBeGreaterThan(0);
    expect(outcomes.harmless).toBeGreaterThan(0);
  });

  it('is checked by verify against what was acknowledged', async () => {
    const directory = join(root, 'verified');
    await prepare(directory);
    const { wrapRows, deafen, fail } = deafRows();
    const log = await LmdbEventLog.open({ directory, wrapRows });
    deafen();
    await log.append('s', [sample(0), sample(1)], 'none');
    await log.append('s', [sample(2)], 1);
    const [first] = await recordsOf(directory);
    await damage(first!.path, first!.at + first!.bytes - 1);
    expect(await log.verify()).toMatchObject({ ok: false, damages: [{ position: 1 }] });
    fail();
    await log.close().catch(() => {});
  });

  it('shows a reader beside it every acknowledged event, through all reuse of its segments', async () => {
    const directory = join(root, 'beside');
    await prepare(directory);
    const log = await LmdbEventLog.open({ directory });
    const reader = await openLogReader(directory);
    const events = Array.from({ length: 60 }, (_, n) => ({ type: 'x-journal-Bulk', data: 'b'.repeat(700 + n) }));
    let next = 1;
    for (let n = 0; n < 400; n++) {
      const { last } = await log.append(`s-${n % 7}`, events, 'any');
      if (n % 3 > 0) continue;
      expect(reader.head()).toBe(last);
      for await (const batch of reader.read({ from: next })) {
        expect(batch[0]!.position).toBe(next);
        next = batch.at(-1)!.position + 1;
      }
      expect(next).toBe(last + 1);
    }
    expect(await reader.revision('s-2')).toBe(57 * 60 - 1);
    expect(await readdir(join(directory, 'journal'))).not.toHaveLength(0);
    await log.close();
    for (let round = 0; round < 3; round++) {
      const next = await LmdbEventLog.open({ directory });
      for (let n = 0; n < 20; n++) {
        const { last } = await next.append('later', events, 'any');
        expect(reader.head(), `round ${round}, append ${n}`).toBe(last);
      }
      await next.close();
    }
    await reader.close();
    expect((await stat(join(directory, 'journal', 'segment-0'))).size).toBe(2 * 1024 * 1024);
  });
});

interface Span {
  readonly path: string;
  readonly at: number;
  readonly bytes: number;
  readonly first: number;
}

/** Where the records of a journal lie, in the order of their positions. */
async function recordsOf(directory: string): Promise<Span[]> {
  const spans: Span[] = [];
  for (const name of (await readdir(join(directory, 'journal'))).filter((each) => !each.endsWith('.new'))) {
    const path = join(directory, 'journal', name);
    const bytes = await readFile(path);
    for (let at = 0; at + 32 <= bytes.length; at += recordAlignment) {
      if (bytes.toString('latin1', at, at + 4) !== 'cjr1') continue;
      spans.push({ path, at, bytes: bytes.readUInt32LE(at + 8), first: bytes.readDoubleLE(at + 16) });
    }
  }
  return spans.sort((a, b) => a.first - b.first);
}

async function damage(path: string, at: number, length = 1, random?: SeededRandom): Promise<void> {
  const file = await open(path, 'r+');
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, at);
  for (let index = 0; index < length; index++) bytes[index] = random ? random.int(256) : bytes[index]! ^ 0x10;
  await file.write(bytes, 0, length, at);
  await file.close();
}

/** Writes the file that says how far was acknowledged, as a log that got no further would have left it. */
async function acknowledge(directory: string, position: number): Promise<void> {
  const { crc32 } = await import('node:zlib');
  const bytes = await readFile(join(directory, 'acknowledged'));
  bytes.writeDoubleLE(position, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
  await writeFile(join(directory, 'acknowledged'), bytes);
}

async function judge(
  directory: string,
  original: readonly RecordedEvent[],
  what: string,
): Promise<'refused' | 'harmless'> {
  let log: LmdbEventLog;
  try {
    log = await LmdbEventLog.open({ directory });
  } catch (error) {
    if (!hasCode(error, 'LOG_CORRUPT')) throw new Error(`${what}: ${String(error)}`, { cause: error });
    expect((error as CloudosError).details.position, what).toBeTypeOf('number');
    return 'refused';
  }
  expect(await readAll(log), what).toEqual(original);
  expect(await log.verify(), what).toMatchObject({ ok: true });
  await log.close();
  return 'harmless';
}
