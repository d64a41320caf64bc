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
/** A second, in that round. */
const warmUpDeliveries = 50_000;

/** Of one round: to arrival from the hand-over, from when the event was durable, and what lies between the two. */
interface Latencies {
  readonly whole: Percentiles;
  readonly delivery: Percentiles;
  readonly durable: Percentiles;
}

/** A server with its publisher and its subscribers, that takes its turn. */
interface Subject {
  round(seconds: number, perSecond: number): Promise<Latencies>;
  end(): Promise<void>;
}

/** As many deliveries a second as a plain `ws` server can make at all, or a tenth of that. */
const loads = [
  { perSecond: 1_000, subscribers: 100 },
  { perSecond: 1_000, subscribers: 10 },
  { perSecond: 10_000, subscribers: 10 },
] as const;

/**
 * From the hand-over at a publisher to the arrival at the subscribers: publisher, server and subscribers are processes of
 * their own. Beside two peers in turns: a bare `ws` server that passes each message on and makes nothing durable, and one
 * that writes and flushes first, as the log does. Each figure is the median of the rounds. What lies before the disk is
 * told apart from what comes after.
 */
export async function latencyRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const where = join(workDir, 'latency');
  await mkdir(where, { recursive: true });
  for (const load of loads) {
    const label = `${load.perSecond}.${load.subscribers}`;
    progress(`subscribers.latency: ${load.perSecond} events/s to ${load.subscribers}`);
    const { feed, plain, durable } = await rounds(join(where, label), load, quick);
    for (const figure of figures) {
      const of = (part: keyof Latencies, from: readonly Latencies[]) => middle(from, part, figure);
      const beside = (name: string, value: number, bound: number, peer: string | null) => {
        const [ratio, target] = [value / bound, peer === null ? 'reported' : `<= 2 x ${peer}`];
        const row = { value, unit: 'ms', bound, ratio, target, met: peer === null ? null : ratio <= 2 };
        report({ name: `subscribers.latency.${name}.${label}`, ...row });
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
type Load = (typeof loads)[number];

async function rounds(where: string, load: Load, quick: boolean): Promise<Record<Names, Latencies[]>> {
  await mkdir(where, { recursive: true });
  const seconds = quick ? 1 : 3;
  const found: Record<Names, Latencies[]> = { feed: [], plain: [], durable: [] };
  const subjects: (readonly [Names, Subject])[] = [];
  try {
    for (const name of ['feed', 'plain', 'durable'] as const) {
      subjects.push([name, await open(name, where, load.subscribers)]);
    }
    const warmUp = Math.min(warmUpPerSecond, warmUpDeliveries / load.subscribers);
    for (const [, subject] of subjects) await subject.round(seconds, warmUp);
    for (let round = 0; round < (quick ? 1 : 5); round++) {
      for (const [name, subject] of subjects) found[name].push(await subject.round(seconds, load.perSecond));
    }
    return found;
  } finally {
    for (const [, subject] of subjects) await subject.end();
  }
}

async function open(role: Names, where: string, count: number): Promise<Subject> {
  const server = await Role.start(role, where);
  const clients = await Role.start('subscribers');
  const publisher = await Role.start('publisher');
  const { url, token } = await server.ask<{ url: string; token: string }>('where');
  const isFeed = role === 'feed';
  const kind = isFeed ? 'standard' : 'plain';
  await clients.ask('connect', { kind, url, token, count, query: 'from=now' });
  await publisher.ask('connect', { kind: isFeed ? 'feed' : 'plain', url, token });
  return {
    round: async (seconds, perSecond) => {
      const events = perSecond * seconds;
      await clients.ask('time');
      if (isFeed) await server.ask('watch', { events });
      const taken = clients.ask('until', { events });
      await publisher.ask('pace', { perSecond, events });
      await taken;
      const durableMs = isFeed ? await server.ask<readonly number[]>('watched') : [];
      return {
        whole: await clients.ask<Percentiles>('latency', {}),
        delivery: await clients.ask<Percentiles>('latency', { lessMs: durableMs }),
        durable: percentiles(durableMs),
      };
    },
    end: async () => {
      await publisher.end();
      await clients.end();
      await server.end();
    },
  };
}
