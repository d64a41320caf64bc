import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import { LmdbEventLog } from '@cloudos/log-lmdb';
import { Etcd3 } from 'etcd3';
import { Redis } from 'ioredis';
import { WebSocket } from 'ws';
import type { BenchOptions } from '../bench.ts';
import { median } from '../figures.ts';
import { closedLoop, eventPool } from '../log-load.ts';
import { startPostgres } from './postgres.ts';
import { commandPath, Role, startServer } from './processes.ts';

const inFlight = 1_024;
const [redisPort, etcdPort, etcdPeerPort] = [46_379, 42_379, 42_380];

type Append = (n: number) => Promise<unknown>;
type Opened = { readonly append: Append; close(): Promise<void> };

const text = (n: number) => JSON.stringify(eventPool[n % eventPool.length]!);

/** Single events with durable acknowledgement, 1,024 in flight, through the client of each. All take turns. */
export async function appendRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const durationMs = quick ? 500 : 2_000;
  const subjects: Readonly<Record<string, () => Promise<Opened | undefined>>> = {
    feed: () => overWebSocket(join(workDir, 'append')),
    'in-process': () => inProcess(join(workDir, 'append-log')),
    redis: () => redis(join(workDir, 'append-redis')),
    postgresql: () => postgres(),
    etcd: () => etcd(join(workDir, 'append-etcd')),
  };
  const opened = new Map<string, Opened>();
  const rates = new Map<string, number[]>();
  try {
    for (const [name, open] of Object.entries(subjects)) {
      const subject = await open();
      if (subject) opened.set(name, subject);
      else progress(`subscribers.append: no ${name} here, so no row beside it`);
    }
    for (const { append } of opened.values()) await closedLoop(inFlight, durationMs / 2, append);
    for (let round = 0; round < (quick ? 1 : 7); round++) {
      progress(`subscribers.append: round ${round + 1}`);
      for (const [name, { append }] of opened) {
        const { perSecond } = await closedLoop(inFlight, durationMs, append);
        rates.set(name, [...(rates.get(name) ?? []), perSecond]);
      }
    }
  } finally {
    for (const subject of opened.values()) await subject.close();
  }
  const feed = rates.get('feed') ?? [];
  const value = median(feed);
  const beside: readonly (readonly [string, number | null])[] = [
    ['in-process', null],
    ['redis', 1],
    ['postgresql', 6],
    ['etcd', 10],
  ];
  for (const [peer, least] of beside) {
    const rounds = rates.get(peer);
    if (!rounds) continue;
    // The ratio is that of the rounds, which had the same machine; not that of the medians.
    const ratio = median(feed.map((each, round) => each / (rounds[round] as number)));
    const target = least === null ? 'reported' : `>= ${least} x ${peer}`;
    const met = least === null ? null : ratio >= least;
    const bound = median(rounds);
    report({ name: `subscribers.append.beside-${peer}`, value, unit: 'events/s', bound, ratio, target, met });
  }
}

async function overWebSocket(where: string): Promise<Opened> {
  await mkdir(where, { recursive: true });
  const server = await Role.start('feed', where);
  const { url, token } = await server.ask<{ url: string; token: string }>('where');
  const client = new CloudosClient({ url, token, webSocket: WebSocket as unknown as WebSocketConstructor });
  const appender = client.appender();
  return {
    append: (n) => {
      const { data } = eventPool[n % eventPool.length]!;
      return appender.append(`x-bench-${n % 1000}`, [{ type: 'x-bench-GuestStarted', data }]);
    },
    close: async () => {
      appender.close();
      await server.end();
    },
  };
}

async function inProcess(directory: string): Promise<Opened> {
  const log = await LmdbEventLog.open({ directory });
  return {
    append: (n) => log.append(`x-bench-${n % 1000}`, [eventPool[n % eventPool.length]!], 'any'),
    close: () => log.close(),
  };
}

async function redis(directory: string): Promise<Opened | undefined> {
  const command = commandPath('redis-server');
  if (!command) return undefined;
  await mkdir(directory, { recursive: true });
  const settings = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--dir', directory];
  const stop = await startServer(command, ['--port', String(redisPort), '--bind', '127.0.0.1', ...settings], redisPort);
  const client = new Redis({ port: redisPort, enableAutoPipelining: true });
  return {
    append: (n) => client.xadd(`bench-${n % 1000}`, '*', 'event', text(n)),
    close: async () => {
      client.disconnect();
      await stop();
    },
  };
}

async function postgres(): Promise<Opened | undefined> {
  const server = await startPostgres();
  if (!server) return undefined;
  const pool = server.pool(32);
  await pool.query('CREATE TABLE events (position bigserial PRIMARY KEY, stream text, event jsonb NOT NULL)');
  return {
    append: (n) => pool.query('INSERT INTO events (stream, event) VALUES ($1, $2)', [`bench-${n % 1000}`, text(n)]),
    close: () => server.end(),
  };
}

async function etcd(directory: string): Promise<Opened | undefined> {
  const command = commandPath('etcd');
  if (!command) return undefined;
  const client = `http://127.0.0.1:${etcdPort}`;
  const peer = `http://127.0.0.1:${etcdPeerPort}`;
  const args = ['--data-dir', directory, '--listen-client-urls', client, '--advertise-client-urls', client];
  args.push('--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`);
  const stop = await startServer(command, args, etcdPort);
  const connection = new Etcd3({ hosts: client });
  return {
    append: async (n) => connection.put(`bench/${n}`).value(text(n)),
    close: async () => {
      connection.close();
      await stop();
    },
  };
}
