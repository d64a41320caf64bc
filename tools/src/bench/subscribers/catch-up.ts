import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import { connect, consumerOpts, StorageType } from 'nats';
import { WebSocket } from 'ws';
import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { eventPool } from '../log-load.ts';
import { startPostgres } from './postgres.ts';
import { commandPath, Role, startServer } from './processes.ts';

const natsPort = 42_223;

/** All of the log to one subscriber that parses it; the same events from PostgreSQL and from a NATS ordered consumer. */
export async function catchUpRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const total = quick ? 20_000 : 1_000_000;
  const rounds = quick ? 1 : 3;
  const feed = await feedRates(join(workDir, 'catch-up'), total, rounds, progress);
  const compact = median(feed.compact);
  const beside = (peer: string, rate: number | undefined, least: number) => {
    if (rate === undefined) return progress(`subscribers.catchup: no ${peer} here, so no row beside it`);
    const ratio = compact / rate;
    const row = {
      value: compact,
      unit: 'events/s',
      bound: rate,
      ratio,
      target: `>= ${least} x ${peer}`,
      met: ratio >= least,
    };
    report({ name: `subscribers.catchup.compact.beside-${peer}`, ...row });
  };
  beside('postgresql', await postgresRate(total, rounds, progress), 1.2);
  beside('nats', await natsRate(workDir, quick ? total : total / 5, rounds, progress), 3);
  const value = median(feed.standard);
  const row = { unit: 'events/s', bound: compact, ratio: value / compact, target: 'reported', met: null };
  report({ name: 'subscribers.catchup.standard', value, ...row });
}

async function feedRates(where: string, total: number, rounds: number, progress: (text: string) => void) {
  await mkdir(where, { recursive: true });
  const server = await Role.start('feed', where);
  try {
    const { url, token } = await server.ask<{ url: string; token: string }>('where');
    progress(`subscribers.catchup: writing ${total} events`);
    await server.ask('fill', { events: total });
    const webSocket = WebSocket as unknown as WebSocketConstructor;
    const client = new CloudosClient({ url, token, webSocket });
    const rate = async (protocol: 'compact' | 'standard') => {
      const begin = performance.now();
      let seen = 0;
      await new Promise<void>((resolve, reject) => {
        client.events({ from: 0, to: total - 1, protocol }).subscribe({
          next: ({ data }) => {
            if ((data as { pid: number }).pid > 0) seen++;
          },
          error: reject,
          complete: resolve,
        });
      });
      if (seen !== total) throw new Error(`${seen} of ${total} events`);
      return (total / (performance.now() - begin)) * 1000;
    };
    const rates = { compact: [] as number[], standard: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      progress(`subscribers.catchup: round ${round + 1}`);
      rates.compact.push(await rate('compact'));
      rates.standard.push(await rate('standard'));
    }
    return rates;
  } finally {
    await server.end();
  }
}

/** Pages of 10,000 rows of text, each parsed. */
async function postgresRate(total: number, rounds: number, progress: (text: string) => void) {
  const server = await startPostgres();
  if (!server) return undefined;
  try {
    const pool = server.pool(1);
    progress('subscribers.catchup: filling PostgreSQL');
    await pool.query('CREATE TABLE events (position bigint PRIMARY KEY, event text NOT NULL)');
    const page = 10_000;
    for (let from = 0; from < total; from += page) {
      const at = Array.from({ length: Math.min(page, total - from) }, (_, n) => from + n);
      const texts = at.map((n) => JSON.stringify({ position: n, ...eventPool[n % eventPool.length]! }));
      await pool.query('INSERT INTO events SELECT * FROM unnest($1::bigint[], $2::text[])', [at, texts]);
    }
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const begin = performance.now();
      let seen = 0;
      for (let from = 0; from < total; from += page) {
        const sql = 'SELECT event FROM events WHERE position >= $1 ORDER BY position LIMIT 10000';
        const { rows } = await pool.query<{ event: string }>(sql, [from]);
        for (const row of rows) if ((JSON.parse(row.event) as { data: { pid: number } }).data.pid > 0) seen++;
      }
      if (seen !== total) throw new Error(`${seen} of ${total} rows`);
      rates.push((total / (performance.now() - begin)) * 1000);
    }
    return median(rates);
  } finally {
    await server.end();
  }
}

async function natsRate(workDir: string, total: number, rounds: number, progress: (text: string) => void) {
  const nats = commandPath('nats-server');
  if (!nats) return undefined;
  const directory = join(workDir, 'catch-up-nats');
  await mkdir(directory, { recursive: true });
  const stop = await startServer(nats, ['-p', String(natsPort), '-a', '127.0.0.1', '-js', '-sd', directory], natsPort);
  const connection = await connect({ port: natsPort });
  try {
    progress('subscribers.catchup: filling NATS');
    const manager = await connection.jetstreamManager();
    await manager.streams.add({ name: 'events', subjects: ['events'], storage: StorageType.File });
    const stream = connection.jetstream();
    for (let from = 0; from < total; from += 1_000) {
      const acks = Array.from({ length: Math.min(1_000, total - from) }, (_, n) =>
        stream.publish('events', JSON.stringify({ position: from + n, ...eventPool[(from + n) % eventPool.length]! })),
      );
      await Promise.all(acks);
    }
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const begin = performance.now();
      // The push form: the pull form of its client was seen to get no message here, and never to end.
      const ordered = consumerOpts();
      ordered.orderedConsumer();
      ordered.deliverAll();
      let seen = 0;
      const messages = await stream.subscribe('events', ordered);
      for await (const message of messages) {
        if ((message.json() as { data: { pid: number } }).data.pid > 0) seen++;
        if (seen === total) break;
      }
      rates.push((total / (performance.now() - begin)) * 1000);
    }
    return median(rates);
  } finally {
    await connection.close();
    await stop();
  }
}
