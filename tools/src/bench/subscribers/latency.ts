import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchOptions } from '../bench.ts';
import { type Percentiles, percentiles } from './percentiles.ts';
import { Role } from './processes.ts';

/** Of one server: to arrival from the call, from when the event was durable, and what lies between the two. */
interface Latencies {
  readonly whole: Percentiles;
  readonly delivery: Percentiles;
  readonly durable: Percentiles;
}

/**
 * From the call of `append` to the arrival at ten subscribers; beside a bare `ws` send, which makes nothing durable.
 * The flush is the disk's, so the same is told without it: from when the log has the event on disk to its arrival.
 */
export async function latencyRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const where = join(workDir, 'latency');
  await mkdir(where, { recursive: true });
  for (const perSecond of [1_000, 10_000]) {
    progress(`subscribers.latency: ${perSecond} events/s`);
    const subject = await measure('feed', where, 'standard', perSecond, quick);
    const bound = (await measure('plain', '', 'plain', perSecond, quick)).whole;
    for (const figure of ['p50', 'p99'] as const) {
      const at = `${figure}Ms` as const;
      const beside = (name: string, value: number, target: string, met: boolean | null) => {
        const row = { value, unit: 'ms', bound: bound[at], ratio: value / bound[at], target, met };
        report({ name: `subscribers.latency.${name}.${perSecond}`, ...row });
      };
      const { whole, delivery, durable } = subject;
      beside(figure, whole[at], '<= 2 x bare ws, which makes nothing durable', whole[at] / bound[at] <= 2);
      beside(`delivery.${figure}`, delivery[at], '<= 2 x bare ws, from durable on', delivery[at] / bound[at] <= 2);
      beside(`durable.${figure}`, durable[at], 'reported', null);
    }
  }
}

async function measure(
  role: string,
  where: string,
  kind: 'standard' | 'plain',
  perSecond: number,
  quick: boolean,
): Promise<Latencies> {
  const server = await Role.start(role, where);
  const clients = await Role.start('subscribers');
  try {
    const { url, token } = await server.ask<{ url: string; token: string }>('where');
    await clients.ask('connect', { kind, url, token, count: 10, query: 'from=now' });
    const run = async (seconds: number) => {
      const events = perSecond * seconds;
      const taken = clients.ask('until', { events });
      const durableMs = await server.ask<readonly number[] | undefined>('pace', { perSecond, events });
      await taken;
      return durableMs ?? [];
    };
    await run(1);
    await clients.ask('time');
    const durableMs = await run(quick ? 1 : 5);
    return {
      whole: await clients.ask<Percentiles>('latency'),
      delivery: await clients.ask<Percentiles>('latency', { lessMs: durableMs }),
      durable: percentiles(durableMs),
    };
  } finally {
    await clients.end();
    await server.end();
  }
}
