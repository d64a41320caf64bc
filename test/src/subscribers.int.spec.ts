import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLogReader } from '@cloudos/log-lmdb';
import { afterAll, describe, expect, it } from 'vitest';
import { inFlightMax, trustRun } from './support/trust/run.ts';
import { Numbers, verdictOf } from './support/trust/verdict.ts';

const seed = Number(process.env.CLOUDOS_SEED ?? Math.floor(Math.random() * 1e9));
const subscribers = Number(process.env.CLOUDOS_SUBSCRIBERS ?? 60);
const kills = 4;
/** Against what never ends; more of them take longer to serve and to compare, and a busy machine to start the server. */
const limitMs = 600_000 + subscribers * 480;
/** Where what was seen is written, for the benchmark that runs this at full size. */
const reportFile = process.env.CLOUDOS_REPORT;
const none = { lost: 0, twice: 0, disordered: 0, foreign: 0, changed: 0 };

describe(`${subscribers} subscribers of a server that is killed (CLOUDOS_SEED=${seed})`, () => {
  const directories: string[] = [];
  const directory = () => {
    const made = mkdtempSync(join(tmpdir(), 'cloudos-subscribers-'));
    directories.push(made);
    return made;
  };
  afterAll(() => Promise.all(directories.map((each) => rm(each, { recursive: true, force: true }))));

  it('loses nothing, tells nothing twice, and keeps the order', { timeout: limitMs + 60_000 }, async () => {
    const begun = performance.now();
    const at = directory();
    const { counts, wrong, acknowledged, worked, ...seen } = await trustRun({
      seed,
      subscribers,
      kills,
      limitMs,
      processes: Math.max(2, Math.min(8, availableParallelism())),
      eventsPerLife: 2_500,
      directory: at,
      onProgress: (text) => console.log(text),
    });
    const seconds = Math.round((performance.now() - begun) / 1_000);
    const { told, connections, peakRssBytes, head } = seen;
    const report = {
      seed,
      kills,
      subscribers: seen.subscribers,
      events: head + 1,
      told,
      connections,
      seconds,
      ...counts,
    };
    console.log(`seed ${seed}: ${JSON.stringify(report)}, at most ${Math.round(peakRssBytes / 2 ** 20)} MiB a process`);
    if (reportFile) writeFileSync(reportFile, JSON.stringify({ ...report, peakRssBytes }));
    expect(wrong).toEqual([]);
    expect(counts).toEqual(none);
    expect(seen.subscribers).toBe(subscribers);
    // Each has come back again and again, or there was nothing to lose.
    expect(connections).toBeGreaterThan(subscribers * 2);
    // What was acknowledged to the program is in the log once, however often it was sent.
    const reader = await openLogReader(join(at, 'log'));
    const numbered: string[] = [];
    const positions: number[] = [];
    for await (const batch of reader.read({ filter: { types: ['x-test-Numbered'] } })) {
      numbered.push(...batch.map(({ data }) => JSON.stringify(data)));
      positions.push(...batch.map(({ position }) => position));
    }
    await reader.close();
    expect(numbered.sort()).toEqual([...acknowledged].sort());
    // Those who share a named subscription got all of that, and no more of it again than was not acknowledged when the
    // server was killed or its log swapped: the cursor is durable.
    expect([...new Set(worked)].sort((a, b) => a - b)).toEqual(positions);
    expect(worked.length - positions.length).toBeLessThanOrEqual(2 * inFlightMax * (kills + 1));
  });

  it.each(['lose', 'double'] as const)('finds out a server that does %s', { timeout: 360_000 }, async (sabotage) => {
    const { counts, wrong } = await trustRun({
      ...{ seed, sabotage, subscribers: 12, kills: 0, processes: 1, eventsPerLife: 100_000, limitMs: 300_000 },
      directory: directory(),
    });
    expect(counts).toMatchObject({ disordered: 0, foreign: 0, changed: 0 });
    expect(counts[sabotage === 'lose' ? 'lost' : 'twice']).toBeGreaterThan(0);
    expect(wrong.length).toBeGreaterThan(0);
  });

  it.each([
    ['nothing wrong', [1, 3, 4, 7], {}],
    ['one lost', [1, 4, 7], { lost: 1, first: '3 is lost' }],
    ['the last one lost', [1, 3, 4], { lost: 1, first: '7 is lost' }],
    ['one twice', [1, 3, 3, 4, 7], { twice: 1, first: '3 is twice' }],
    ['one twice, later', [1, 3, 4, 7, 3], { twice: 1, first: '3 is twice' }],
    ['two out of order', [1, 4, 3, 7], { disordered: 1, first: '3 is disordered' }],
    ['one that nobody selected', [1, 2, 3, 4, 7], { foreign: 1, first: '2 is foreign' }],
  ])('a verdict says %s', (_name, given, expected) => {
    const sums = Uint32Array.from({ length: 9 }, (_, at) => at * 1_000);
    const [got, said] = [new Numbers(), new Numbers()];
    for (const position of given) {
      got.push(position);
      said.push(position * 1_000);
    }
    expect(verdictOf(got, said, [1, 3, 4, 7], sums)).toEqual({ ...none, first: undefined, ...expected });
    const other = Uint32Array.from(sums, (sum, at) => (at === given[0] ? sum + 1 : sum));
    expect(verdictOf(got, said, [1, 3, 4, 7], other)).toMatchObject({ changed: 1 });
  });
});
