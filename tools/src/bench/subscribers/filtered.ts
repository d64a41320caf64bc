import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosClient, type EventFilter, type WebSocketConstructor } from '@cloudos/client';
import { WebSocket } from 'ws';
import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { Role } from './processes.ts';

/** What is looked for: the first four happened 64 times, in the middle of the log; events of a node are all over it. */
const filters: Readonly<Record<string, EventFilter>> = {
  types: { types: ['x-bench-Rare*'] },
  workload: { workload: 'rare' },
  cause: { cause: 'rare-chain' },
  streams: { streams: ['x-rare-*'] },
  node: { node: 'n7' },
};

/**
 * How long a catch-up over all of a long log takes for who wants little of it. The bound is the first one, which nothing
 * was known for: it decodes all there is.
 */
export async function filteredRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const total = quick ? 20_000 : 1_000_000;
  const where = join(workDir, 'filtered');
  await mkdir(where, { recursive: true });
  const server = await Role.start('feed', where);
  try {
    const { url, token } = await server.ask<{ url: string; token: string }>('where');
    const client = new CloudosClient({ url, token, webSocket: WebSocket as unknown as WebSocketConstructor });
    progress(`subscribers.filtered: ${total} events`);
    await server.ask('fill', { events: total / 2 });
    await server.ask('rare');
    await server.ask('fill', { events: total });
    const head = await server.ask<number>('head');
    const first = await catchUp(client, { types: ['nothing'] }, head);
    const common = { unit: 'ms', bound: null, ratio: null, met: null };
    report({ name: 'subscribers.filtered.first', value: first.ms, target: 'reported', ...common });
    for (const [name, filter] of Object.entries(filters)) {
      const rounds: { ms: number; events: number }[] = [];
      for (let round = 0; round < (quick ? 1 : 5); round++) rounds.push(await catchUp(client, filter, head));
      const [{ events } = { events: 0 }] = rounds;
      if (events === 0) throw new Error(`nothing was found by ${name}`);
      const value = median(rounds.map(({ ms }) => ms));
      const ratio = value / first.ms;
      const target = `<= 0.25 of the first, for ${events} events`;
      report({
        name: `subscribers.filtered.${name}`,
        value,
        unit: 'ms',
        bound: first.ms,
        ratio,
        target,
        met: ratio <= 0.25,
      });
    }
  } finally {
    await server.end();
  }
}

async function catchUp(
  client: CloudosClient,
  filter: EventFilter,
  head: number,
): Promise<{ ms: number; events: number }> {
  const begin = performance.now();
  let events = 0;
  await new Promise<void>((resolve, reject) => {
    client
      .events({ ...filter, from: 0, to: head })
      .subscribe({ next: () => events++, error: reject, complete: resolve });
  });
  return { ms: performance.now() - begin, events };
}
