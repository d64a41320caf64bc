import { batchHeaderBytes, bearerProtocolPrefix, subprotocols } from '@cloudos/client';
import { connect, type NatsConnection } from 'nats';
import { type RawData, WebSocket } from 'ws';
import { percentiles } from './percentiles.ts';
import { type ServerTasks, serveTasks } from './tasks.ts';

export interface Connecting {
  readonly kind: 'plain' | 'standard' | 'compact' | 'nats';
  readonly url: string;
  readonly token: string;
  readonly count: number;
  readonly query?: string;
}

/** How often the progress is told. */
const tellMs = 5;

/** Many subscribers in one process: they count what comes, and tell how far the slowest one is. */
export async function subscriberProcess(): Promise<void> {
  let taken: number[] = [];
  let close: () => Promise<void> = async () => {};
  const latencies: Latency[] = [];
  let timing = false;
  const tasks: ServerTasks = {
    connect: async (given: Connecting) => {
      taken = new Array<number>(given.count).fill(0);
      const count = (which: number, data: RawData | undefined, isBinary: boolean) => {
        taken[which] = (taken[which] ?? 0) + (isBinary ? eventsIn(data as Buffer) : 1);
        if (timing && data && !isBinary) latencies.push(latencyOf(data.toString()));
      };
      close = given.kind === 'nats' ? await connectNats(given, count) : await connectSockets(given, count);
    },
    /** Resolves when every subscriber has taken that many. */
    until: async ({ events }: { events: number }) => {
      const begin = performance.now();
      for (;;) {
        const least = taken.reduce((min, each) => Math.min(min, each), Number.POSITIVE_INFINITY);
        process.send?.({ taken: least });
        if (least >= events) break;
        await new Promise((resolve) => setTimeout(resolve, tellMs));
        if (performance.now() - begin > 120_000) throw new Error(`${least} of ${events} events in two minutes`);
      }
      const all = taken.reduce((sum, each) => sum + each, 0);
      taken.fill(0);
      return all;
    },
    time: async () => {
      latencies.length = 0;
      timing = true;
    },
    /** From the hand-over, less what each event waited for elsewhere. */
    latency: async ({ lessMs }: { lessMs?: readonly number[] }) => {
      timing = false;
      return percentiles(latencies.map(({ n, ms }) => ms - (lessMs?.[n] ?? 0)));
    },
    close: () => close(),
  };
  serveTasks(tasks);
}

type Count = (which: number, data: RawData | undefined, isBinary: boolean) => void;

async function connectSockets({ kind, url, token, count, query = '' }: Connecting, counted: Count) {
  const path = kind === 'plain' ? '/' : `/v1/events?${query}`;
  const protocols = kind === 'plain' || kind === 'nats' ? [] : [subprotocols[kind], `${bearerProtocolPrefix}${token}`];
  const sockets: WebSocket[] = [];
  // In groups: a thousand handshakes at once would overflow the queue of the listening socket.
  for (let at = 0; at < count; at += 50) {
    const group = Array.from({ length: Math.min(50, count - at) }, (_, index) => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`, protocols, {
        perMessageDeflate: false,
        // Nobody reads the text, and the client of NATS does not look at its payloads either.
        skipUTF8Validation: true,
      });
      socket.on('message', (data, isBinary) => counted(at + index, data, isBinary));
      return socket;
    });
    await Promise.all(
      group.map((socket) => new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))),
    );
    sockets.push(...group);
  }
  return async () => {
    for (const socket of sockets) socket.terminate();
  };
}

async function connectNats({ url, count }: Connecting, counted: Count) {
  const connections: NatsConnection[] = [];
  for (let which = 0; which < count; which++) {
    const connection = await connect({ servers: url });
    connection.subscribe('bench', { callback: () => counted(which, undefined, false) });
    await connection.flush();
    connections.push(connection);
  }
  return async () => {
    await Promise.all(connections.map((connection) => connection.close()));
  };
}

/** How many events the batches of a message hold, by their headers. */
function eventsIn(message: Buffer): number {
  let events = 0;
  for (let at = 0; at < message.length; at += batchHeaderBytes + message.readUInt32LE(at)) {
    events += message.readUInt16LE(at + 6);
  }
  return events;
}

interface Latency {
  /** Which event. */
  readonly n: number;
  readonly ms: number;
}

function latencyOf(text: string): Latency {
  const [, at, n] = /"at":"(\d+)","n":(\d+)/.exec(text) ?? [];
  return { n: Number(n), ms: at === undefined ? Number.NaN : Number(process.hrtime.bigint() - BigInt(at)) / 1e6 };
}
