import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import { tokenFileOf } from '@cloudos/gateway';
import type { RecordedEvent } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import { WebSocket } from 'ws';
import { FeedServer, type Sabotage } from '../feed-server.ts';
import { until } from '../kernel-process.ts';
import { flakyWebSocket } from './flaky.ts';
import type { Report } from './subscriber-process.ts';
import { SubscriberProcesses } from './subscriber-processes.ts';

export interface TrustOptions {
  readonly seed: number;
  readonly subscribers: number;
  readonly processes: number;
  /** How often the server is killed. */
  readonly kills: number;
  /** What the server appends in each of its lives. */
  readonly eventsPerLife: number;
  readonly directory: string;
  /** For all of it. */
  readonly limitMs: number;
  /** What the server does wrong, to see whether that is found. */
  readonly sabotage?: Sabotage;
  readonly onProgress?: (text: string) => void;
}

/** What became of all subscribers together, and of a program that appends. */
export interface Outcome extends Report {
  /** Last position of the log. */
  readonly head: number;
  /** Appends of the program that were acknowledged, as it numbered them. */
  readonly acknowledged: readonly string[];
  /** Positions that two consumers of a named subscription were given, both together. */
  readonly worked: readonly number[];
}

/** Events that a consumer of the named subscription has without having acknowledged them. */
export const inFlightMax = 40;

/** Appends of one lane of the program in one life of the server; from then on it is slow. */
const appendsPerLife = 300;

/**
 * Lets subscribers follow a server that is killed again and again, its log's reader swapped meanwhile, and holds what
 * each of them got against the log. Between two kills the server appends, and at least half of the subscribers come
 * back: the others are killed in the middle of coming back, those that are back in the middle of being served.
 */
export async function trustRun(options: TrustOptions): Promise<Outcome> {
  const { seed, subscribers, kills, eventsPerLife, directory, limitMs, onProgress = () => {} } = options;
  const random = new SeededRandom(seed);
  const server = new FeedServer(directory);
  const life = (n: number) => server.start(seed + n, eventsPerLife, options.sabotage);
  const parties = await SubscriberProcesses.start(options.processes, seed);
  const begunAt = Date.now();
  const deadline = begunAt + limitMs;
  const leftMs = () => Math.max(1_000, deadline - Date.now());
  const waitFor = (what: string, condition: () => Promise<boolean>) => {
    const began = Date.now() - begunAt;
    return until(condition, leftMs(), () => `${what}: begun ${began} ms after the start of the run`);
  };
  try {
    await life(0);
    const token = readFileSync(tokenFileOf(directory), 'utf8').trim();
    const target = { url: server.url, token, retryMaxMs: 300 + subscribers };
    const group = new WorkingGroup(
      new CloudosClient({ ...target, webSocket: WebSocket as unknown as WebSocketConstructor }),
    );
    const program = new AppendingProgram(
      new CloudosClient({ ...target, webSocket: flakyWebSocket(random) as unknown as WebSocketConstructor }),
    );
    for (let round = 0; round <= kills; round++) {
      const begun = Date.now();
      program.nextLife();
      await parties.mark();
      const joined = Math.ceil((subscribers * (round + 1)) / (kills + 1));
      const { watchers } = await parties.progress();
      await parties.join(joined - watchers, target, await server.head());
      await waitFor(`${joined} of them, half back`, async () => (await parties.progress()).back >= joined / 2);
      await pause(300 + random.int(900));
      await parties.restart(0.1);
      if (round === 1) server.swap();
      const { told, back, cpuSeconds } = await parties.progress();
      const seconds = [(Date.now() - begun) / 1_000, server.cpuSeconds(), cpuSeconds].map(Math.round);
      onProgress(`round ${round}: ${back} of ${joined} back, ${told} told; ${timesOf(seconds)}`);
      if (round === kills) break;
      await server.kill();
      await life(round + 1);
    }
    const acknowledged = await program.end();
    const still = Date.now();
    const head = await server.still();
    await waitFor(`all at ${head}`, async () => (await parties.progress(head)).level === subscribers);
    // Of a broken server they are not told all of it either.
    const worked = await group.end(options.sabotage ? 0 : acknowledged.length, leftMs());
    const { cpuSeconds } = await parties.progress();
    const seconds = [(Date.now() - still) / 1_000, server.cpuSeconds(), cpuSeconds].map(Math.round);
    onProgress(`round of ${head + 1} events to the end: ${timesOf(seconds)}`);
    await server.kill();
    return { ...merged(await parties.judge(join(directory, 'log'))), head, acknowledged, worked };
  } finally {
    await parties.end();
    await server.kill();
  }
}

function timesOf([passed, server, subscribers]: readonly number[]): string {
  return `${passed} s, processor of the server ${server} s, of all subscribers so far ${subscribers} s`;
}

function merged(reports: readonly Report[]): Report {
  const sum = (of: (report: Report) => number) => reports.reduce((total, report) => total + of(report), 0);
  return {
    subscribers: sum(({ subscribers }) => subscribers),
    told: sum(({ told }) => told),
    connections: sum(({ connections }) => connections),
    peakRssBytes: Math.max(...reports.map(({ peakRssBytes }) => peakRssBytes)),
    counts: {
      lost: sum(({ counts }) => counts.lost),
      twice: sum(({ counts }) => counts.twice),
      disordered: sum(({ counts }) => counts.disordered),
      foreign: sum(({ counts }) => counts.foreign),
      changed: sum(({ counts }) => counts.changed),
    },
    wrong: reports.flatMap(({ wrong }) => wrong),
  };
}

/** Two consumers that share what the program appends. */
class WorkingGroup {
  readonly #stop = new AbortController();
  readonly #worked: number[] = [];
  readonly #done: Promise<void>[];

  constructor(client: CloudosClient) {
    const handler = (events: readonly RecordedEvent[]) => {
      for (const { position } of events) this.#worked.push(position);
    };
    const options = { types: ['x-test-*'], from: 'start', inFlightMax, retriesMax: 1_000 } as const;
    const { signal } = this.#stop;
    this.#done = [0, 1].map(() =>
      client.work('trust', handler, { ...options, backoff: { initialMs: 10, maxMs: 300 }, signal }),
    );
  }

  /** What they were given, when that is so many different events. */
  async end(events: number, limitMs: number): Promise<readonly number[]> {
    const failed = Promise.all(this.#done).then(() => true);
    await Promise.race([failed, until(() => new Set(this.#worked).size >= events, limitMs)]);
    this.#stop.abort();
    await failed;
    return this.#worked;
  }
}

/** Appends numbered events on some lanes, each after the one before was acknowledged. */
class AppendingProgram {
  readonly #appender;
  readonly #lanes: Promise<void>[];
  readonly #acknowledged: string[] = [];
  #left = 0;
  #stop = false;

  constructor(client: CloudosClient) {
    this.#appender = client.appender({ backoff: { initialMs: 10, maxMs: 300 }, retriesMax: 1_000 });
    this.#lanes = [0, 1, 2].map((lane) => this.#append(lane));
  }

  nextLife(): void {
    this.#left = 3 * appendsPerLife;
  }

  /** What was acknowledged, when all of it is. */
  async end(): Promise<readonly string[]> {
    this.#stop = true;
    await Promise.all(this.#lanes);
    this.#appender.close();
    return this.#acknowledged;
  }

  async #append(lane: number): Promise<void> {
    for (let n = 0; !this.#stop; n++) {
      const data = { lane, n, instance: `i${n % 20}`, node: `n${n % 5}` };
      await this.#appender.append(`x-test-${lane}`, [{ type: 'x-test-Numbered', data }]);
      this.#acknowledged.push(JSON.stringify(data));
      await pause(this.#left-- > 0 ? 5 : 200);
    }
  }
}
