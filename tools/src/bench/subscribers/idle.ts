import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BenchOptions } from '../bench.ts';
import { Role } from './processes.ts';

/** What idle subscribers cost, and whether they hold up the event loop while events flow that none of them wants. */
export async function idleRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const count = quick ? 200 : 10_000;
  const where = join(workDir, 'idle');
  await mkdir(where, { recursive: true });
  const server = await Role.start('feed', where);
  const parties: Role[] = [];
  try {
    const { url, token } = await server.ask<{ url: string; token: string }>('where');
    const before = await server.ask<number>('memory');
    progress(`subscribers.idle: connecting ${count}`);
    // A process has a limit of open files.
    for (let left = count; left > 0; left -= 5_000) {
      const party = await Role.start('subscribers');
      parties.push(party);
      const query = 'from=now&types=Nothing&markers=true&heartbeatMs=60000';
      await party.ask('connect', { kind: 'standard', url, token, count: Math.min(left, 5_000), query });
    }
    const after = await server.ask<number>('memory');
    report({
      name: 'subscribers.idle.memory',
      value: (after - before) / count / 1024,
      unit: 'KiB',
      bound: null,
      ratio: null,
      target: `of each of ${count} connections; reported`,
      met: null,
    });
    const seconds = quick ? 2 : 10;
    progress('subscribers.idle: 1,000 events/s');
    const flow = server.ask('pace', { perSecond: 1_000, events: 1_000 * seconds });
    const lag = await server.ask<number>('lag', { forMs: (seconds - 1) * 1_000 });
    await flow;
    report({
      name: 'subscribers.idle.lag.p99',
      value: lag,
      unit: 'ms',
      bound: null,
      ratio: null,
      target: `< 20 ms with ${count} subscribers`,
      met: lag < 20,
    });
  } finally {
    for (const party of parties) await party.end();
    await server.end();
  }
}
