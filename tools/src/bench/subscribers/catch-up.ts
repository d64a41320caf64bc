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

/** The events in one place, to be read from there as a whole or as far as a number of them. */
interface Source {
  /** Reads and parses that many from the first on. @throws Error where it does not get them */
  read(events: number): Promise<void>;
  end(): Promise<void>;
}

/**
 * All of the log to one subscriber that parses it; the same events from PostgreSQL and from a NATS ordered consumer. Each
 * reads a tenth to warm up, then all of them in turns.
 */
export async function catchUpRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const total = quick ? 20_000 : 1_000_000;
  const openers: Readonly<Record<string, () => Promise<Source | undefined>>> = {
    feed: () => openFeed(join(workDir, 'catch-up'), total),
    postgresql: () => openPostgres(total),
    nats: () => openNats(join(workDir, 'catch-up-nats'), total),
  };
  const sources = new Map<string, Source>();
  const rates = new Map<string, number[]>();
  try {
    for (const [name, open] of Object.entries(openers)) {
      progress(`subscribers.catchup: ${total} events into ${name}`);
      const source = await open();
      if (source) sources.set(name, source);
      else progress(`subscribers.catchup: no ${name} here, so no row beside it`);
    }
    const standard = await openStandard(sources.get('feed') as FeedSource);
    sources.set('standard', standard);
    for (const source of sources.values()) await source.read(total / 10);
    for (let round = 0; round < (quick ? 1 : 3); round++) {
      progress(`subscribers.catchup: round ${round + 1}`);
      for (const [name, source] of sources) {
        const begin = performance.now();
        await source.read(total);
        rates.set(name, [...(rates.get(name) ?? []), (total / (performance.now() - begin)) * 1000]);
      }
    }
  } finally {
    for (const source of sources.values()) await source.end();
  }
  const rate = (name: string) => median(rates.get(name) ?? []);
  const compact = rate('feed');
  for (const [peer, least] of [
    ['postgresql', 1.2],
    ['nats', 3],
  ] as const) {
    const bound = rate(peer);
    if (!Number.isFinite(bound)) continue;
    const ratio = compact / bound;
    const row = {
      value: compact,
      unit: 'events/s',
      bound,
      ratio,
      target: `>= ${least} x ${peer}`,
      met: ratio >= least,
    };
    report({ name: `subscribers.catchup.compact.beside-${peer}`, ...row });
  }
  const value = rate('standard');
  const row = { unit: 'events/s', bound: compact, ratio: value / compact, target: 'reported', met: null };
  report({ name: 'subscribers.catchup.standard', value, ...row });
}

interface FeedSource extends Source {
  readonly client: CloudosClient;
}

async function openFeed(where: string, total: number): Promise<FeedSource> {
  await mkdir(where, { recursive: true });
  const server = await Role.start('feed', where);
  const { url, token } = await server.ask<{ url: string; token: string }>('where');
  await server.ask('fill', { events: total });
  const client = new CloudosClient({ url, token, webSocket: WebSocket as unknown as WebSocketConstructor });
  return { client, read: (events) => readFeed(client, events, 'compact'), end: () => server.end() };
}

async function openStandard({ client }: FeedSource): Promise<Source> {
  return { read: (events) => readFeed(client, events, 'standard'), end: async () => {} };
}

async function readFeed(client: CloudosClient, events: number, protocol: 'compact' | 'standard'): Promise<void> {
  let seen = 0;
  await new Promise<void>((resolve, reject) => {
    client.events({ from: 0, to: events - 1, protocol }).subscribe({
      next: ({ data }) => {
        if ((data as { pid: number }).pid > 0) seen++;
      },
      error: reject,
      complete: resolve,
    });
  });
  assertAll(seen, events);
}

/** Pages of 10,000 rows of text, each parsed. */
async function openPostgres(total: number): Promise<Source | undefined> {
  const server = await startPostgres();
  if (!server) return undefined;
  const pool = server.pool(1);
  // Filled on the server from the pool of events: what it stores is the same text as the others get, sooner.
  await pool.query('CREATE TABLE pool (id int PRIMARY KEY, event text NOT NULL)');
  const texts = eventPool.map((event) => JSON.stringify(event).slice(1));
  const sql = 'INSERT INTO pool SELECT * FROM unnest($1::int[], $2::text[])';
  await pool.query(sql, [texts.map((_, n) => n), texts]);
  await pool.query('CREATE TABLE events (position bigint PRIMARY KEY, event text NOT NULL)');
  await pool.query(
    `INSERT INTO events SELECT n, '{"position":' || n || ',' || event
     FROM generate_series(0, ${total - 1}) AS n JOIN pool ON id = n % ${texts.length} ORDER BY n`,
  );
  await pool.query('VACUUM ANALYZE events');
  const page = 10_000;
  return {
    read: async (events) => {
      let seen = 0;
      for (let from = 0; from < events; from += page) {
        const text = `SELECT event FROM events WHERE position >= $1 ORDER BY position LIMIT ${Math.min(page, events - from)}`;
        const { rows } = await pool.query<{ event: string }>(text, [from]);
        for (const row of rows) if ((JSON.parse(row.event) as { data: { pid: number } }).data.pid > 0) seen++;
      }
      assertAll(seen, events);
    },
    end: () => server.end(),
  };
}

async function openNats(directory: string, total: number): Promise<Source | undefined> {
  const nats = commandPath('nats-server');
  if (!nats) return undefined;
  await mkdir(directory, { recursive: true });
  const stop = await startServer(nats, ['-p', String(natsPort), '-a', '127.0.0.1', '-js', '-sd', directory], natsPort);
  const connection = await connect({ port: natsPort });
  const manager = await connection.jetstreamManager();
  await manager.streams.add({ name: 'events', subjects: ['events'], storage: StorageType.File });
  // Without waiting for each acknowledgement; that all have come in is seen afterwards.
  for (let n = 0; n < total; n++) {
    connection.publish('events', JSON.stringify({ position: n, ...eventPool[n % eventPool.length]! }));
    if (n % 1_000 === 999) await connection.flush();
  }
  await connection.flush();
  const stored = async () => (await manager.streams.info('events')).state.messages;
  for (let tries = 0; (await stored()) < total && tries < 600; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assertAll(await stored(), total);
  return {
    read: async (events) => {
      // The push form: the pull form of its client was seen to get no message here, and never to end.
      const ordered = consumerOpts();
      ordered.orderedConsumer();
      ordered.deliverAll();
      let seen = 0;
      const messages = await connection.jetstream().subscribe('events', ordered);
      for await (const message of messages) {
        if ((message.json() as { data: { pid: number } }).data.pid > 0) seen++;
        if (seen === events) break;
      }
      messages.unsubscribe();
    },
    end: async () => {
      await connection.close();
      await stop();
    },
  };
}

function assertAll(seen: number, events: number): void {
  if (seen !== events) throw new Error(`${seen} of ${events} events`);
}
