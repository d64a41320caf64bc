import { cp, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbEventLog, openLogReader } from '@cloudos/log-lmdb';
import { type CloudosError, hasCode, type RecordedEvent } from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const seed = Number(process.env.CLOUDOS_SEED ?? Date.now() % 1_000_000);
const rounds = 300;
type Kind = 'flip' | 'truncate' | 'tear' | 'garbage';

/** Integers from 0 below a bound, the same for the same seed (mulberry32). */
function randomOf(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Damages the file at a place that follows from the seed. A third of the places is near its start, where the roots are. */
async function damage(path: string, kind: Kind, random: (below: number) => number): Promise<string> {
  const { size } = await stat(path);
  const place = random(3) === 0 ? random(Math.min(size, 9000)) : random(size);
  if (kind === 'truncate') {
    await truncate(path, place);
    return `truncated at ${place} of ${size}`;
  }
  const file = await open(path, 'r+');
  const length = kind === 'flip' ? 1 : kind === 'tear' ? 4096 : 1 + random(64);
  const at = kind === 'tear' ? Math.floor(place / 4096) * 4096 : Math.min(place, size - length);
  const bytes = Buffer.alloc(length);
  await file.read(bytes, 0, length, at);
  const half = kind === 'tear' ? 512 * (1 + random(7)) : 0;
  for (let index = half; index < length; index++) {
    bytes[index] = kind === 'flip' ? bytes[index]! ^ (1 << random(8)) : kind === 'tear' ? 0 : random(256);
  }
  await file.write(bytes, 0, length, at);
  await file.close();
  return `${kind} of ${length} bytes at ${at} of ${size}`;
}

describe(`a damaged data file (CLOUDOS_SEED=${seed})`, () => {
  let root: string;
  let original: RecordedEvent[];
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cloudos-corruption-'));
    original = await writeSample(join(root, 'sound'));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  for (const kind of ['flip', 'truncate', 'tear', 'garbage'] as const) {
    it(`is named by position or does not matter, and no wrong event is served: ${kind}`, {
      timeout: 120_000,
    }, async () => {
      const random = randomOf(seed + kind.length);
      const outcomes = { refused: 0, partial: 0, harmless: 0 };
      for (let round = 0; round < rounds / 4; round++) {
        const directory = join(root, `${kind}-${round}`);
        await cp(join(root, 'sound'), directory, { recursive: true });
        const what = await damage(join(directory, 'data.mdb'), kind, random);
        outcomes[await judge(directory, original, `seed ${seed}, ${what}`)]++;
        await rm(directory, { recursive: true });
      }
      console.log(`seed ${seed}, ${kind}: ${JSON.stringify(outcomes)}`);
      expect(outcomes.refused + outcomes.partial).toBeGreaterThan(0);
    });
  }

  it('is noticed when the newest root page is lost, and made good from the journal where that has the events', async () => {
    const directory = join(root, 'older-root');
    await cp(join(root, 'sound'), directory, { recursive: true });
    const append = async (n: number) => {
      const log = await LmdbEventLog.open({ directory });
      const { last } = await log.append('a', [{ type: 'x-a-B', data: n }], 'any');
      await log.close();
      return last;
    };
    const stored = await append(1);
    const before = await readFile(join(directory, 'data.mdb'));
    const expected = await append(2);
    await writeFile(join(directory, 'data.mdb'), before);
    const log = await LmdbEventLog.open({ directory });
    expect(log.head()).toBe(expected);
    expect(await log.verify()).toMatchObject({ ok: true, head: expected });
    await log.close();
    await writeFile(join(directory, 'data.mdb'), before);
    await rm(join(directory, 'journal'), { recursive: true });
    await expect(LmdbEventLog.open({ directory })).rejects.toMatchObject({
      code: 'LOG_CORRUPT',
      details: { position: stored + 1 },
    });
  });
});

async function writeSample(directory: string): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for (let part = 0; part < 3; part++) {
    const log = await LmdbEventLog.open({ directory });
    for (let n = 0; n < 40; n++) {
      const size = 1 + ((n * 7) % 30);
      const batch = Array.from({ length: size }, (_, index) => ({
        type: 'x-corruption-Sample',
        data: { part, n, index, text: 'x'.repeat((n * 37) % 200) },
      }));
      await log.append(`stream-${n % 12}`, batch, 'any');
    }
    if (part === 2) for await (const batch of log.read({})) events.push(...batch);
    await log.close();
  }
  return events;
}

/** Opens, reads and verifies a damaged log. Throws when it serves anything but what was written. */
async function judge(
  directory: string,
  original: readonly RecordedEvent[],
  what: string,
): Promise<'refused' | 'partial' | 'harmless'> {
  let reader: Awaited<ReturnType<typeof openLogReader>>;
  try {
    reader = await openLogReader(directory);
  } catch (error) {
    expectNamed(error, what);
    return 'refused';
  }
  try {
    const served: RecordedEvent[] = [];
    let failure: unknown;
    try {
      for await (const batch of reader.read({})) served.push(...batch);
    } catch (error) {
      expectNamed(error, what);
      failure = error;
    }
    expect(served, what).toEqual(original.slice(0, served.length));
    const report = await reader.verify();
    if (failure) expect(report.ok, what).toBe(false);
    else expect(served.length, what).toBe(original.length);
    return report.ok ? 'harmless' : 'partial';
  } finally {
    await reader.close();
  }
}

function expectNamed(error: unknown, what: string): void {
  if (!hasCode(error, 'LOG_CORRUPT')) throw new Error(`${what}: ${String(error)}`, { cause: error });
  expect((error as CloudosError).details.position, what).toBeTypeOf('number');
}
