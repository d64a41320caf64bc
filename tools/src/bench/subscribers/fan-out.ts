import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { commandPath, Role, startServer } from './processes.ts';
import type { Connecting } from './subscriber-process.ts';
import { Subscribers } from './subscribers.ts';

/** Events that may be on the way to the slowest subscriber. */
const window = 2_048;
const natsPort = 42_222;

interface Variant {
  readonly name: string;
  readonly server: string;
  readonly kind: Connecting['kind'];
  readonly where: string;
  /** Events of one round, for a hundred subscribers. */
  readonly events: number;
}

/** Delivered events a second, at full rate; server, publisher and subscribers in processes of their own. */
export async function fanOutRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const nats = commandPath('nats-server');
  const endNats =
    nats === undefined ? undefined : await startServer(nats, ['-p', String(natsPort), '-a', '127.0.0.1'], natsPort);
  if (!nats) progress('subscribers.fanout: no nats-server, so no row beside it (apt-get install nats-server)');
  try {
    for (const count of quick ? [20] : [100, 1_000]) {
      const scale = quick ? 0.1 : count === 100 ? 0.6 : 0.06;
      const variants: Variant[] = [
        {
          name: 'standard',
          server: 'feed',
          kind: 'standard',
          where: join(workDir, `s${count}`),
          events: 80_000 * scale,
        },
        {
          name: 'compact',
          server: 'feed',
          kind: 'compact',
          where: join(workDir, `c${count}`),
          events: 160_000 * scale,
        },
        { name: 'plain', server: 'plain', kind: 'plain', where: '', events: 8_000 * scale },
        { name: 'bare', server: 'bare', kind: 'plain', where: '', events: 80_000 * scale },
        ...(nats
          ? [
              {
                name: 'nats',
                server: 'nats',
                kind: 'nats' as const,
                where: `nats://127.0.0.1:${natsPort}`,
                events: 30_000 * scale,
              },
            ]
          : []),
      ];
      const rates = new Map<string, number[]>();
      for (const variant of variants) {
        progress(`subscribers.fanout: ${variant.name} to ${count}`);
        rates.set(variant.name, await rounds(variant, count, quick ? 1 : 3));
      }
      rows(report, count, (name) => median(rates.get(name) ?? []));
    }
  } finally {
    await endNats?.();
  }
}

function rows(report: BenchOptions['report'], count: number, rate: (name: string) => number): void {
  const beside: readonly (readonly [string, string, number])[] = [
    ['standard', 'plain', 6],
    ['standard', 'bare', 0.7],
    ['standard', 'nats', 1.5],
    ['compact', 'nats', 3.5],
  ];
  for (const [subject, peer, least] of beside) {
    const [value, bound] = [rate(subject), rate(peer)];
    if (!Number.isFinite(bound)) continue;
    report({
      name: `subscribers.fanout.${subject}.${count}.beside-${peer}`,
      value,
      unit: 'events/s',
      bound,
      ratio: value / bound,
      target: `>= ${least} x ${peer}`,
      met: value / bound >= least,
    });
  }
}

async function rounds({ server: role, kind, where, events }: Variant, count: number, times: number): Promise<number[]> {
  if (role === 'feed') await mkdir(where, { recursive: true });
  const server = await Role.start(role, where);
  const clients = await Subscribers.start();
  clients.onTaken = (taken) => server.told(taken);
  try {
    const { url, token } = await server.ask<{ url: string; token: string }>('where');
    await clients.connect({ kind, url, token, count, query: 'from=now&markers=false' });
    const rates: number[] = [];
    // The first one warms up.
    for (let round = 0; round <= times; round++) {
      const total = Math.ceil(round === 0 ? events / 4 : events);
      const begin = performance.now();
      const taken = clients.until(total);
      await server.ask('publish', { events: total, window });
      const delivered = await taken;
      if (round > 0) rates.push((delivered / (performance.now() - begin)) * 1000);
    }
    return rates;
  } finally {
    await clients.end();
    await server.end();
  }
}
