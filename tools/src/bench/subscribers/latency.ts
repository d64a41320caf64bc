import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { type Percentiles, percentiles } from './percentiles.ts';
import { Role } from './processes.ts';

const figures = ['p50', 'p99'] as const;
type Figure = (typeof figures)[number];
/** Of the round that warms up: the engine compiles what has been called some thousand times, at any rate. */
const warmUpPerSecond = 5_000;

/** Of one round: to arrival from the call, from when the event was durable, and what lies between the two. */
interface Latencies {
  readonly whole: Percentiles;
  readonly delivery: Percentiles;
  readonly durable: Percentiles;
}

/** A server with its ten subscribers, that takes its turn. */
interface Subject {
  round(seconds: number, perSecond: number): Promise<Latencies>;
  end(): Promise<void>;
}

/**
 * From the call of `append` to the arrival at ten subscribers, beside two peers in turns: a bare `ws` send, which makes
 * nothing durable, and one that writes and flushes first, as the log does. Each figure is the median of the rounds.
 * What lies between the call and the disk is told apart from what comes after.
 */
export async function latencyRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const where = join(workDir, 'latency');
  await mkdir(where, { recursive: true });
  for (const perSecond of [1_000, 10_000]) {
    progress(`subscribers.latency: ${perSecond} events/s`);
    const { feed, plain, durable } = await rounds(where, perSecond, quick);
    for (const figure of figures) {
      const of = (part: keyof Latencies, from: readonly Latencies[]) => middle(from, part, figure);
      const beside = (name: string, value: number, bound: number, peer: string | null) => {
        const [ratio, target] = [value / bound, peer === null ? 'reported' : `<= 2 x ${peer}`];
        const row = { value, unit: 'ms', bound, ratio, target, met: peer === null ? null : ratio <= 2 };
        report({ name: `subscribers.latency.${name}.${perSecond}`, ...row });
      };
      const bare = of('whole', plain);
      beside(figure, of('whole', feed), bare, 'bare ws, which makes nothing durable');
      beside(`beside-durable.${figure}`, of('whole', feed), of('whole', durable), 'bare ws that flushes first');
      beside(`delivery.${figure}`, of('delivery', feed), bare, 'bare ws, from durable on');
      beside(`durable.${figure}`, of('durable', feed), of('whole', durable), null);
    }
  }
}

function middle(latencies: readonly Latencies[], part: keyof Latencies, figure: Figure): number {
  return median(latencies.map((each) => each[part][`${figure}Ms`]));
}

type Names = 'feed' | 'plain' | 'durable';

async function rounds(where: string, perSecond: number, quick: boolean): Promise<Record<Names, Latencies[]>> {
  const found: Record<Names, Latencies[]> = { feed: [], plain: [], durable: [] };
  const subjects: (readonly [Names, Subject])[] = [];
  try {
    for (const name of ['feed', 'plain', 'durable'] as const) subjects.push([name, await open(name, where)]);
    for (const [, subject] of subjects) await subject.round(quick ? 1 : 3, warmUpPerSecond);
    for (let round = 0; round < (quick ? 1 : 5); round++) {
      for (const [name, subject] of subjects) found[name].push(await subject.round(quick ? 1 : 3, perSecond));
    }
    return found;
  } finally {
    for (const [, subject] of subjects) await subject.end();
  }
}

async function open(role: Names, where: string): Promise<Subject> {
  const server = await Role.start(role, where);
  const clients = await Role.start('subscribers');
  const { url, token } = await server.ask<{ url: string; token: string }>('where');
  const kind = role === 'feed' ? 'standard' : 'plain';
  await clients.ask('connect', { kind, url, token, count: 10, query: 'from=now' });
  return {
    round: async (seconds, perSecond) => {
      const events = perSecond * seconds;
      await clients.ask('time');
      const taken = clients.ask('until', { events });
      const durableMs = (await server.ask<readonly number[] | undefined>('pace', { perSecond, events })) ?? [];
      await taken;
      return {
        whole: await clients.ask<Percentiles>('latency', {}),
        delivery: await clients.ask<Percentiles>('latency', { lessMs: durableMs }),
        durable: percentiles(durableMs),
      };
    },
    end: async () => {
      await clients.end();
      await server.end();
    },
  };
}
