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
      rows(report, count, await rounds(variants, count, quick ? 1 : 3, progress));
    }
  } finally {
    await endNats?.();
  }
}

function rows(report: BenchOptions['report'], count: number, rates: ReadonlyMap<string, readonly number[]>): void {
  const beside: readonly (readonly [string, string, number])[] = [
    ['standard', 'plain', 6],
    ['standard', 'bare', 0.7],
    ['standard', 'nats', 1.5],
    ['compact', 'nats', 3.5],
  ];
  for (const [subject, peer, least] of beside) {
    const [values, bounds] = [rates.get(subject) ?? [], rates.get(peer) ?? []];
    if (bounds.length === 0) continue;
    const ratio = median(values.map((value, round) => value / (bounds[round] ?? Number.NaN)));
    report({
      name: `subscribers.fanout.${subject}.${count}.beside-${peer}`,
      value: median(values),
      unit: 'events/s',
      bound: median(bounds),
      ratio,
      target: `>= ${least} x ${peer}`,
      met: ratio >= least,
    });
  }
}

/** Delivered events a second by variant, round by round: they take turns, so that all meet the same machine. */
async function rounds(
  variants: readonly Variant[],
  count: number,
  times: number,
  progress: BenchOptions['progress'],
): Promise<ReadonlyMap<string, readonly number[]>> {
  const rates = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
  const parties: Party[] = [];
  try {
    for (const variant of variants) {
      progress(`subscribers.fanout: ${variant.name} to ${count}`);
      const party = await Party.start(variant, count);
      parties.push(party);
      await party.round(Math.ceil(variant.events / 2));
    }
    for (let round = 0; round < times; round++) {
      for (const party of parties) rates.get(party.variant.name)?.push(await party.round(party.variant.events));
    }
    return rates;
  } finally {
    for (const party of parties) await party.end();
  }
}

/** A server with its subscribers, that takes its turn. */
class Party {
  readonly variant: Variant;
  readonly #server: Role;
  readonly #clients: Subscribers;

  private constructor(variant: Variant, server: Role, clients: Subscribers) {
    this.variant = variant;
    this.#server = server;
    this.#clients = clients;
    clients.onTaken = (taken) => server.told(taken);
  }

  static async start(variant: Variant, count: number): Promise<Party> {
    const { server: role, kind, where } = variant;
    if (role === 'feed') await mkdir(where, { recursive: true });
    const party = new Party(variant, await Role.start(role, where), await Subscribers.start());
    const { url, token } = await party.#server.ask<{ url: string; token: string }>('where');
    await party.#clients.connect({ kind, url, token, count, query: 'from=now&markers=false' });
    return party;
  }

  /** Deliveries a second. */
  async round(events: number): Promise<number> {
    const total = Math.ceil(events);
    const begin = performance.now();
    const taken = this.#clients.until(total);
    await this.#server.ask('publish', { events: total, window });
    return ((await taken) / (performance.now() - begin)) * 1000;
  }

  async end(): Promise<void> {
    await this.#clients.end();
    await this.#server.end();
  }
}
