import { openLogReader } from '@cloudos/log-lmdb';
import type { RecordedEvent } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import type { Target } from './forms.ts';
import { sumOf, type Verdict } from './verdict.ts';
import { Watcher } from './watcher.ts';

/** How far the subscribers of a process are. */
export interface Progress {
  readonly watchers: number;
  /** Those that have had a connection since the last `mark`. */
  readonly back: number;
  /** Those that have all that was asked for, or have failed. */
  readonly level: number;
  readonly failed: number;
  readonly told: number;
  /** Processor time so far. */
  readonly cpuSeconds: number;
}

export interface Report {
  readonly subscribers: number;
  readonly told: number;
  readonly connections: number;
  readonly peakRssBytes: number;
  readonly counts: Record<Exclude<keyof Verdict, 'first'>, number>;
  /** A line for each subscriber with which something is wrong. */
  readonly wrong: readonly string[];
}

/** What a process of subscribers is asked for: `[what, how]`. */
export type Request =
  | { readonly task: 'join'; readonly count: number; readonly target: Target; readonly knownTo: number }
  | { readonly task: 'mark' }
  | { readonly task: 'restart'; readonly chance: number }
  | { readonly task: 'progress'; readonly to: number }
  | { readonly task: 'judge'; readonly directory: string };

// Entry point: `node subscriber-process.js <seed>`, with an IPC channel.
const random = new SeededRandom(Number(process.argv[2]));
const watchers: Watcher[] = [];

async function answer(request: Request): Promise<unknown> {
  switch (request.task) {
    case 'join':
      return join(request);
    case 'mark':
      for (const watcher of watchers) watcher.isBack = false;
      return undefined;
    case 'restart':
      for (const watcher of watchers) if (random.chance(request.chance)) watcher.begin();
      return undefined;
    case 'progress':
      return progress(request.to);
    case 'judge':
      return judge(request.directory);
  }
}

function join({ count, target, knownTo }: Request & { task: 'join' }): void {
  for (let n = 0; n < count; n++) {
    const watcher = new Watcher(target, random, knownTo);
    watchers.push(watcher);
    watcher.begin();
  }
}

function progress(to: number): Progress {
  const sum = (of: (watcher: Watcher) => number | boolean) =>
    watchers.reduce((total, watcher) => total + Number(of(watcher)), 0);
  const { user, system } = process.cpuUsage();
  return {
    watchers: watchers.length,
    back: sum(({ isBack }) => isBack),
    level: sum(({ level, failure }) => level >= to || failure !== undefined),
    failed: sum(({ failure }) => failure !== undefined),
    told: sum(({ told }) => told),
    cpuSeconds: (user + system) / 1e6,
  };
}

/** Reads the log and holds what each subscriber got against it. */
async function judge(directory: string): Promise<Report> {
  for (const watcher of watchers) watcher.stop();
  const reader = await openLogReader(directory);
  const log: RecordedEvent[] = [];
  for await (const batch of reader.read({})) log.push(...batch);
  await reader.close();
  const sums = Uint32Array.from(log, sumOf);
  const counts = { lost: 0, twice: 0, disordered: 0, foreign: 0, changed: 0 };
  const wrong: string[] = [];
  for (const watcher of watchers) {
    const { who, first, ...found } = watcher.verdict(log, sums);
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] += found[name];
    if (watcher.failure !== undefined) wrong.push(`${who} failed: ${String(watcher.failure)}`);
    if (first !== undefined) wrong.push(`${who}: ${first}; ${JSON.stringify(found)}`);
  }
  return {
    subscribers: watchers.length,
    told: progress(0).told,
    connections: watchers.reduce((total, { connections }) => total + connections, 0),
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
    counts,
    wrong,
  };
}

process.on('message', async ({ id, request }: { id: number; request: Request }) => {
  try {
    process.send?.({ id, result: await answer(request) });
  } catch (error) {
    process.send?.({ id, error: String((error as Error).stack) });
  }
});
process.on('disconnect', () => process.exit());
process.send?.({ id: 0 });
