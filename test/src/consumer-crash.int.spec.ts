import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { tokenFileOf } from '@cloudos/gateway';
import { openLogReader } from '@cloudos/log-lmdb';
import type { RecordedEvent } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Keeping, keptIn } from './support/consumer/keepers.ts';
import { MortalConsumers } from './support/consumer/mortal-consumers.ts';
import { marks, type Task } from './support/consumer/task.ts';
import { FeedServer } from './support/feed-server.ts';
import { until } from './support/kernel-process.ts';
import { Numbers, sumOf, type Verdict, verdictOf } from './support/trust/verdict.ts';

const seed = Number(process.env.CLOUDOS_SEED ?? Math.floor(Math.random() * 1e9));
const kills = 24;
/** Of one that keeps its position apart, at most: until it was found out. */
const controlKillsMax = 60;
const none = { lost: 0, twice: 0, disordered: 0, foreign: 0, changed: 0 };

/** A program that consumes events is killed while it is being handed some; the server lives on. */
describe(`a consumer that is killed (CLOUDOS_SEED=${seed})`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'cloudos-consumer-'));
  const server = new FeedServer(directory);
  const random = new SeededRandom(seed);
  let consumers: MortalConsumers;
  beforeAll(async () => {
    consumers = await MortalConsumers.prepare();
    await server.start(seed % 1_000, 6_000);
  });
  afterAll(async () => {
    consumers?.end();
    await server.kill();
    rmSync(directory, { recursive: true, force: true });
  });

  const begin = (name: string, keeping: Keeping, options: Task['options']) => {
    const own = join(directory, name);
    mkdirSync(own, { recursive: true });
    const token = readFileSync(tokenFileOf(directory), 'utf8').trim();
    return consumers.begin({ url: server.url, token, directory: own, keeping, options });
  };

  /** Lets it live until a seeded moment of a seeded hand-over. Returns whether the kill came in the middle of one. */
  const liveAndDie = async (name: string, keeping: Keeping, options: Task['options'], handOvers: number) => {
    const life = begin(name, keeping, options);
    await life.said(marks.begun, 1 + random.int(handOvers));
    await pause(random.int(4));
    return (await life.kill()).endsWith(marks.begun);
  };

  /** Holds what took effect against the log: all of it, or as far as it has come. */
  const verdict = async (
    name: string,
    keeping: Keeping,
    selects: (event: RecordedEvent) => boolean,
    to?: number,
  ): Promise<Verdict> => {
    const { position, effects } = await keptIn(join(directory, name), keeping);
    const reached = effects.reduce((highest, [at]) => Math.max(highest, at), position);
    const reader = await openLogReader(join(directory, 'log'));
    const log: RecordedEvent[] = [];
    for await (const batch of reader.read({ to: to ?? reached })) log.push(...batch);
    await reader.close();
    const [got, said] = [new Numbers(), new Numbers()];
    for (const [at, sum] of effects) {
      got.push(at);
      said.push(sum);
    }
    const wanted = log.filter(selects).map((event) => event.position);
    return verdictOf(got, said, wanted, Uint32Array.from(log, sumOf));
  };

  it.each([
    ['effect first', 'twice'],
    ['position first', 'lost'],
  ] as const)('is found out when it keeps its position apart: %s, %s', async (keeping, wrong) => {
    let killed = 0;
    let found: Verdict = { ...none, first: undefined };
    while (found[wrong] === 0 && killed++ < controlKillsMax) {
      await liveAndDie(keeping, keeping, { batchMax: 1 + random.int(32) }, 4);
      found = await verdict(keeping, keeping, () => true);
    }
    console.log(`seed ${seed}, ${keeping}: ${found.first} after ${killed} kills`);
    expect(found).toMatchObject({ ...none, [wrong]: found[wrong] });
    expect(found[wrong]).toBeGreaterThan(0);
  });

  it(`has each event take effect once and in order, over ${kills} kills`, { timeout: 300_000 }, async () => {
    const each = [
      { name: 'all', types: undefined, selects: () => true, inTheMiddle: 0 },
      {
        name: 'some',
        types: ['GuestStarted', 'Instance*'],
        selects: ({ type }: RecordedEvent) => type === 'GuestStarted' || type.startsWith('Instance'),
        inTheMiddle: 0,
      },
    ];
    for (let kill = 0; kill < kills; kill++) {
      const one = each[kill % each.length] as (typeof each)[number];
      // Behind the log at first; in the end level with it, so that what is handed over is what was just appended.
      const isBehind = kill < kills * 0.8;
      const options = {
        ...(one.types && { types: one.types }),
        protocol: random.pick(['compact', 'standard'] as const),
        compression: random.chance(0.2),
        batchMax: isBehind ? 1 + random.int(64) : 1_000,
        bufferMax: random.pick([10, 300, 10_000]),
      };
      if (await liveAndDie(one.name, 'together', options, 12)) one.inTheMiddle++;
    }
    const head = await server.still();
    for (const { name, types, selects, inTheMiddle } of each) {
      const life = begin(name, 'together', types ? { types } : {});
      const kept = async () => (await keptIn(join(directory, name), 'together')).effects.at(-1)?.[0] ?? -1;
      const last = await lastOf(join(directory, 'log'), selects);
      await until(async () => (await kept()) >= last);
      await life.kill();
      console.log(`seed ${seed}: ${name} of ${head + 1} events, ${inTheMiddle} of ${kills / 2} kills in a hand-over`);
      expect(await verdict(name, 'together', selects, head)).toEqual({ ...none, first: undefined });
      expect(inTheMiddle).toBeGreaterThan(0);
    }
  });
});

async function lastOf(log: string, selects: (event: RecordedEvent) => boolean): Promise<number> {
  const reader = await openLogReader(log);
  let last = -1;
  for await (const batch of reader.read({})) for (const event of batch) if (selects(event)) last = event.position;
  await reader.close();
  return last;
}
