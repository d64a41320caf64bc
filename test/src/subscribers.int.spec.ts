import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CloudosClient, type EventFilter, type FeedOptions, type WebSocketConstructor } from '@cloudos/client';
import { tokenFileOf } from '@cloudos/gateway';
import { openLogReader } from '@cloudos/log-lmdb';
import type { RecordedEvent } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import type { Subscription } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { FeedServer } from './support/feed-server.ts';
import { until } from './support/kernel-process.ts';

const seed = Number(process.env.CLOUDOS_SEED ?? Math.floor(Math.random() * 1e9));
const subscribersMax = Number(process.env.CLOUDOS_SUBSCRIBERS ?? 60);
const kills = 4;
/** For CI; more of them take longer to serve and to compare. */
const limitMs = 120_000 + subscribersMax * 600;
/** Where what was seen is written, for the benchmark that runs this at full size. */
const reportFile = process.env.CLOUDOS_REPORT;
const random = new SeededRandom(seed);

/** A WebSocket whose connection breaks now and then, and that now and then takes nothing for a while. */
class Flaky extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols, { perMessageDeflate: true });
    this.on('error', () => {});
    this.once('open', () => {
      if (random.chance(0.3)) setTimeout(() => this.terminate(), random.int(3_000)).unref();
      if (!random.chance(0.3)) return;
      setTimeout(() => this.pause(), random.int(500)).unref();
      setTimeout(() => this.resume(), 500 + random.int(2_500)).unref();
    });
  }
}

function randomFilter(): EventFilter {
  const some = (values: readonly string[]) => values.filter(() => random.chance(0.4));
  switch (random.int(7)) {
    case 0:
      return { types: some(['GuestStarted', 'Guest*', 'x-test-*']) };
    case 1:
      return { streams: some(['node-n1', 'node-n2', 'x-test-0', 'x-test-1']) };
    case 2:
      return { streams: ['node-*'], types: ['GuestExited'] };
    case 3:
      return { workload: `w${random.int(4)}` };
    case 4:
      return { node: `n${random.int(5)}` };
    case 5:
      return { cause: `c${random.int(6)}` };
    default:
      return {};
  }
}

/** The same conditions, said again: what the server selects is held against this. */
function selects(filter: EventFilter, log: readonly RecordedEvent[]): (event: RecordedEvent) => boolean {
  const matches = (patterns: readonly string[] | undefined, name: string) =>
    !patterns?.length ||
    patterns.some((each) => (each.endsWith('*') ? name.startsWith(each.slice(0, -1)) : each === name));
  const workload = filter.workload && `default/${filter.workload}`;
  const data = (event: RecordedEvent) => event.data as { workload?: string; instance: string; node?: string };
  const instances = new Set(
    log
      .filter((event) => event.type === 'InstanceRequested' && data(event).workload === workload)
      .map((event) => data(event).instance),
  );
  return (event) =>
    matches(filter.types, event.type) &&
    matches(filter.streams, event.stream) &&
    (workload === undefined || data(event).workload === workload || instances.has(data(event).instance)) &&
    (filter.node === undefined || event.stream === `node-${filter.node}` || data(event).node === filter.node) &&
    (filter.cause === undefined || event.meta.correlation === filter.cause);
}

/** Where two lists differ first, and how. */
function firstDifference(given: readonly number[], expected: readonly number[]): object | undefined {
  const at = Array.from({ length: Math.max(given.length, expected.length) }, (_, n) => n).find(
    (n) => given[n] !== expected[n],
  );
  return at === undefined ? undefined : { at, given: given.slice(at, at + 5), expected: expected.slice(at, at + 5) };
}

interface Watcher {
  readonly filter: EventFilter;
  readonly options: FeedOptions;
  /** Positions of the events it got, and what they said: the events themselves would fill the memory a thousand times. */
  readonly got: number[];
  readonly said: number[];
  from: number;
  level: number;
  subscription: Subscription | undefined;
  failure: unknown;
}

/** A sum of all that an event says. */
function sumOf({ position, stream, revision, id, type, time, data, meta }: RecordedEvent): number {
  const { schema, producer, causation, correlation, traceparent } = meta;
  const about = [schema, producer.plugin, producer.generation, causation, correlation, traceparent];
  return crc32(JSON.stringify([position, stream, revision, id, type, time, data, about]));
}

describe(`${subscribersMax} subscribers of a server that is killed (CLOUDOS_SEED=${seed})`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'cloudos-subscribers-'));
  const server = new FeedServer(directory);
  const watchers: Watcher[] = [];
  afterAll(async () => {
    for (const { subscription } of watchers) subscription?.unsubscribe();
    await server.kill();
    await rm(directory, { recursive: true, force: true });
  });

  const token = () => readFileSync(tokenFileOf(directory), 'utf8').trim();
  const client = () =>
    new CloudosClient({ url: server.url, token: token(), webSocket: Flaky as unknown as WebSocketConstructor });
  const retry = { backoff: { initialMs: 10, maxMs: 300 }, retriesMax: 1_000 };

  /** Begins, or goes on where it was: by hand, as a program does that was restarted. */
  const watch = (watcher: Watcher) => {
    watcher.subscription?.unsubscribe();
    const last = watcher.got.at(-1);
    const from = last === undefined ? watcher.from : last + 1;
    const options = {
      ...watcher.options,
      ...watcher.filter,
      from,
      onLevel: ({ position }: { position: number }) => (watcher.level = position),
    };
    watcher.subscription = client()
      .events(options)
      .subscribe({
        next: (event) => {
          watcher.got.push(event.position);
          watcher.said.push(sumOf(event));
        },
        error: (error) => {
          watcher.failure = error;
        },
      });
  };

  it('loses nothing, tells nothing twice, and keeps the order', { timeout: limitMs }, async () => {
    await server.start(seed);
    const appender = client().appender(retry);
    let appended = 0;
    let stop = false;
    const append = async (lane: number) => {
      for (let n = 0; !stop; n++) {
        await appender.append(`x-test-${lane}`, [
          { type: 'x-test-Numbered', data: { lane, n, instance: `i${n % 20}`, node: `n${n % 5}` } },
        ]);
        appended++;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const lanes = [0, 1, 2].map(append);
    for (let round = 0; round <= kills; round++) {
      while (watchers.length < (subscribersMax * (round + 1)) / (kills + 1)) {
        const protocol = random.chance(0.5) ? 'compact' : 'standard';
        const from = random.chance(0.7) ? 0 : random.int(Math.max(1, watchers.at(-1)?.level ?? 1));
        const options = { ...retry, protocol, compression: random.chance(0.2) } as const;
        const watcher: Watcher = {
          filter: randomFilter(),
          options,
          got: [],
          said: [],
          from,
          level: -1,
          subscription: undefined,
          failure: undefined,
        };
        watchers.push(watcher);
        watch(watcher);
      }
      const leaves = Date.now() + 700 + random.int(800);
      await until(() => Date.now() >= leaves);
      for (const watcher of watchers) if (random.chance(0.1)) watch(watcher);
      if (round === 1) server.say('swap');
      if (round < kills) {
        await server.kill();
        await server.start(seed + round + 1);
      }
    }
    stop = true;
    await Promise.all(lanes);
    server.say('still');
    appender.close();
    // A thousand at once in one process keep it from hearing an answer in time.
    let head = -1;
    await until(async () => {
      head = await client()
        .status()
        .then((status) => status.head)
        .catch(() => -1);
      return head >= 0;
    }, limitMs / 2);
    await until(() => watchers.every(({ level, failure }) => level >= head || failure !== undefined), limitMs / 2);
    await server.kill();

    const reader = await openLogReader(join(directory, 'log'));
    const log: RecordedEvent[] = [];
    for await (const batch of reader.read({})) log.push(...batch);
    await reader.close();
    const sums = log.map(sumOf);
    for (const { filter, from, got, said, failure, options } of watchers) {
      const what = `${JSON.stringify(filter)} from ${from} over ${options.protocol}`;
      expect(failure, what).toBeUndefined();
      const wanted = log
        .slice(from)
        .filter(selects(filter, log))
        .map(({ position }) => position);
      // Positions first: they say at once what is missing, twice, or out of place.
      expect(firstDifference(got, wanted), what).toBeUndefined();
      const content = wanted.map((position) => sums[position] as number);
      expect(firstDifference(said, content), what).toBeUndefined();
    }
    // What was acknowledged to the program is in the log once, however often it was sent.
    const numbered = log.filter(({ type }) => type === 'x-test-Numbered').map(({ data }) => JSON.stringify(data));
    expect(new Set(numbered).size).toBe(numbered.length);
    expect(numbered.length).toBe(appended);
    const told = watchers.reduce((sum, { got }) => sum + got.length, 0);
    const report = { seed, kills, subscribers: watchers.length, events: log.length, told };
    if (reportFile) writeFileSync(reportFile, JSON.stringify(report));
    console.log(`seed ${seed}: ${log.length} events, ${told} told to ${watchers.length} subscribers, ${kills} kills`);
  });
});
