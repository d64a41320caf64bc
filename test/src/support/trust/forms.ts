import { Agent, get, type IncomingMessage } from 'node:http';
import {
  type CloudEvent,
  CloudosClient,
  type ControlEvent,
  controlTypePrefix,
  type EventFilter,
  type FeedOptions,
  fromCloudEvent,
  subprotocols,
  type WebSocketConstructor,
} from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import type { SeededRandom } from '@cloudos/testing';
import type { WebSocket } from 'ws';
import { filterQuery } from './filters.ts';
import { disturb, flakyWebSocket } from './flaky.ts';

/** Where to subscribe, and how the attempts to come back are spread. */
export interface Target {
  readonly url: string;
  readonly token: string;
  /** The longest wait between two attempts: many that come back at once leave the server no processor to start with. */
  readonly retryMaxMs: number;
}

/** What a program does with a feed. */
export interface Taker {
  /** Position of the first event that it does not have yet. */
  readonly next: number;
  take(event: RecordedEvent): void;
  /** Everything up to there was delivered. */
  level(position: number): void;
  opened(): void;
  /** It cannot go on. */
  fail(error: unknown): void;
}

export interface Asked {
  readonly filter: EventFilter;
  readonly protocol: 'standard' | 'compact';
  readonly compression: boolean;
}

/** Begins to subscribe; returns how to stop. */
type Form = (target: Target, asked: Asked, taker: Taker, random: SeededRandom) => () => void;

/** How often a quiet subscriber is told how far it is. */
const heartbeatMs = 2_000;
/** What an iterator, or a consumer with a position of its own, takes ahead. */
const bufferMax = 2_000;

/** The ways to subscribe: with the client of the project, and without. */
export const forms = {
  observable: (target, asked, taker, random) => {
    const options = optionsOf(target, asked, taker);
    const subscription = clientOf(target, random)
      .events(options)
      .subscribe({ next: (event) => taker.take(event), error: (error) => taker.fail(error) });
    return () => subscription.unsubscribe();
  },
  iterator: (target, asked, taker, random) => {
    const options = { ...optionsOf(target, asked, taker), bufferMax };
    const events = clientOf(target, random).events(options)[Symbol.asyncIterator]();
    const run = async () => {
      for (let step = await events.next(); !step.done; step = await events.next()) taker.take(step.value);
    };
    run().catch((error: unknown) => taker.fail(error));
    return () => void events.return?.();
  },
  consumer: (target, asked, taker, random) => {
    const stop = new AbortController();
    const { from, ...options } = optionsOf(target, asked, taker);
    const consumer = {
      load: () => (from === 0 ? undefined : from - 1),
      handle: (events: readonly RecordedEvent[]) => {
        for (const event of events) taker.take(event);
      },
    };
    clientOf(target, random)
      .consume(consumer, { ...options, bufferMax, batchMax: 100, signal: stop.signal })
      .catch((error: unknown) => taker.fail(error));
    return () => stop.abort();
  },
  websocket: (target, asked, taker, random) => {
    const Flaky = flakyWebSocket(random);
    return comingBack(target, random, taker, (over) => {
      const query = `from=${taker.next}&markers=true&heartbeatMs=${heartbeatMs}${filterQuery(asked.filter)}`;
      const url = `${target.url.replace('http', 'ws')}/v1/events?${query}`;
      const socket: WebSocket = new Flaky(url, [subprotocols.standard, `cloudos.bearer.${target.token}`]);
      socket.on('open', () => taker.opened());
      socket.on('message', (data) => told(JSON.parse(data.toString()), taker));
      socket.on('close', (code, reason) => over(code >= 4_000 ? new Error(`${code} ${reason}`) : undefined));
      return () => socket.terminate();
    });
  },
  ndjson: (target, asked, taker, random) => overHttp(target, asked, taker, random, 'ndjson'),
  sse: (target, asked, taker, random) => overHttp(target, asked, taker, random, 'sse'),
} as const satisfies Readonly<Record<string, Form>>;
export type FormName = keyof typeof forms;

function clientOf({ url, token }: Target, random: SeededRandom): CloudosClient {
  return new CloudosClient({ url, token, webSocket: flakyWebSocket(random) as unknown as WebSocketConstructor });
}

function optionsOf({ retryMaxMs }: Target, asked: Asked, taker: Taker) {
  return {
    ...asked.filter,
    protocol: asked.protocol,
    compression: asked.compression,
    from: taker.next,
    heartbeatMs,
    backoff: { initialMs: 10, maxMs: retryMaxMs },
    retriesMax: 1_000,
    onLevel: ({ position }) => taker.level(position),
    onConnection: ({ open }) => open && taker.opened(),
  } satisfies FeedOptions;
}

/** One connection after the other, each from where the last one came to. */
function comingBack(
  { retryMaxMs }: Target,
  random: SeededRandom,
  taker: Taker,
  connect: (over: (error?: unknown) => void) => () => void,
): () => void {
  let stopped = false;
  let end = () => {};
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    let isOver = false;
    end = connect((error) => {
      if (isOver || stopped) return;
      isOver = true;
      if (error !== undefined) return taker.fail(error);
      timer = setTimeout(begin, 10 + random.int(retryMaxMs));
    });
  };
  begin();
  return () => {
    stopped = true;
    clearTimeout(timer);
    end();
  };
}

/** The feed over plain HTTP, of which Server-Sent Events go on after the last id. */
function overHttp(
  target: Target,
  { filter }: Asked,
  taker: Taker,
  random: SeededRandom,
  format: 'ndjson' | 'sse',
): () => void {
  const first = taker.next;
  return comingBack(target, random, taker, (over) => {
    const from = format === 'sse' ? first : taker.next;
    const query = `from=${from}&format=${format}&markers=true&heartbeatMs=${heartbeatMs}${filterQuery(filter)}`;
    const headers: Record<string, string> = { authorization: `Bearer ${target.token}` };
    if (format === 'sse' && taker.next > first) headers['last-event-id'] = String(taker.next - 1);
    const request = get(`${target.url}/v1/events?${query}`, { headers, agent: new Agent() }, (response) => {
      if (response.statusCode !== 200) return over(new Error(`the answer is ${response.statusCode}`));
      taker.opened();
      disturb(random, response, () => request.destroy());
      readLines(response, format, taker);
      response.on('error', () => {}).on('close', () => over());
    });
    request.on('error', () => over());
    return () => request.destroy();
  });
}

function readLines(response: IncomingMessage, format: 'ndjson' | 'sse', taker: Taker): void {
  let rest = '';
  response.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (format === 'ndjson') told(JSON.parse(line), taker);
      else if (line.startsWith('data: ')) told(JSON.parse(line.slice(6)), taker);
    }
  });
}

function told(message: CloudEvent | ControlEvent, taker: Taker): void {
  if ('position' in message) return taker.take(fromCloudEvent(message));
  const { type, data } = message;
  if (type === `${controlTypePrefix}Gap`) return taker.fail(new Error(`a gap: ${JSON.stringify(data)}`));
  taker.level((data as ControlEvent<'Live'>['data']).position);
}
