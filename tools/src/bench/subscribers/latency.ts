import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchOptions } from '../bench.ts';
import { Role } from './processes.ts';

interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** From the call of `append` (durable before it is told) to the arrival at ten subscribers; beside a bare `ws` send. */
export async function latencyRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const where = join(workDir, 'latency');
  await mkdir(where, { recursive: true });
  for (const perSecond of [1_000, 10_000]) {
    progress(`subscribers.latency: ${perSecond} events/s`);
    const subject = await measure('feed', where, 'standard', perSecond, quick);
    const bound = await measure('plain', '', 'plain', perSecond, quick);
    for (const figure of ['p50', 'p99'] as const) {
      const [value, beside] = [subject[`${figure}Ms`], bound[`${figure}Ms`]];
      report({
        name: `subscribers.latency.${figure}.${perSecond}`,
        value,
        unit: 'ms',
        bound: beside,
        ratio: value / beside,
        target: '<= 2 x bare ws, which makes nothing durable',
        met: value / beside <= 2,
      });
    }
  }
}

async function measure(
  role: string,
  where: string,
  kind: 'standard' | 'plain',
  perSecond: number,
  quick: boolean,
): Promise<Latency> {
  const server = await Role.start(role, where);
  const clients = await Role.start('subscribers');
  try {
    const { url, token } = await server.ask<{ url: string; token: string }>('where');
    await clients.ask('connect', { kind, url, token, count: 10, query: 'from=now' });
    const run = async (seconds: number) => {
      const events = perSecond * seconds;
      const taken = clients.ask('until', { events });
      await server.ask('pace', { perSecond, events });
      await taken;
    };
    await run(1);
    await clients.ask('time');
    await run(quick ? 1 : 5);
    return await clients.ask<Latency>('latency');
  } finally {
    await clients.end();
    await server.end();
  }
}
