import { BatchDecoder, controlTypePrefix } from '@cloudos/client';
import { type Bench, type Listener, until } from '../spec-kit.ts';

/** The forms in which a feed goes on. */
export const feedForms = ['standard', 'compact', 'ndjson', 'sse'] as const;
export type FeedForm = (typeof feedForms)[number];

/** One subscription in any form, for specs: what it was told, in the order in which it came. */
export interface FeedReader {
  readonly positions: readonly number[];
  readonly markers: readonly { readonly name: string; readonly data: Record<string, unknown> }[];
  /** How it ended; undefined while it goes on. */
  readonly ended: string | undefined;
  close(): void;
}

interface Told {
  positions: number[];
  markers: { name: string; data: Record<string, unknown> }[];
  ended: string | undefined;
}

/** @param headers instead of the token of the bench */
export async function openFeed(
  bench: Bench,
  form: FeedForm,
  query: string,
  headers: Record<string, string> = {},
): Promise<FeedReader> {
  const told: Told = { positions: [], markers: [], ended: undefined };
  const close = form === 'standard' || form === 'compact' ? overSocket : overHttp;
  return Object.assign(told, { close: await close(bench, form, query, headers, told) });
}

async function overSocket(
  bench: Bench,
  form: FeedForm,
  query: string,
  headers: Record<string, string>,
  told: Told,
): Promise<() => void> {
  const protocol = form === 'compact' ? 'cloudos.batch.v1' : 'cloudevents.json';
  const listener: Listener = bench.listen(`/v1/events?${query}`, { headers }, [protocol]);
  const decoder = new BatchDecoder();
  listener.socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) told.positions.push(...decoder.decode(data).events.map(({ position }) => position));
    else take(JSON.parse(data.toString()), told);
  });
  listener.socket.on('close', (code, reason) => {
    told.ended = `${code} ${reason}`;
  });
  await until('the WebSocket opens', () => listener.wasOpen);
  return () => listener.socket.close();
}

async function overHttp(
  bench: Bench,
  form: FeedForm,
  query: string,
  headers: Record<string, string>,
  told: Told,
): Promise<() => void> {
  const stop = new AbortController();
  const response = await bench.get(`/v1/events?${query}&format=${form}`, { headers, signal: stop.signal });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  const read = async () => {
    let rest = '';
    for await (const part of (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream())) {
      const lines = (rest + part).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const text = form === 'ndjson' ? line : /^data: (.*)$/.exec(line)?.[1];
        if (text) take(JSON.parse(text), told);
      }
    }
    told.ended = 'the end';
  };
  read().catch((error: unknown) => {
    told.ended = String(error);
  });
  return () => stop.abort();
}

function take(message: Record<string, unknown>, told: Told): void {
  if (typeof message.position === 'number') told.positions.push(message.position);
  else if (typeof message.method === 'string') {
    const name = `${message.method.charAt(0).toUpperCase()}${message.method.slice(1)}`;
    told.markers.push({ name, data: message.params as Record<string, unknown> });
  } else if (typeof message.type === 'string') {
    told.markers.push({
      name: message.type.slice(controlTypePrefix.length),
      data: message.data as Record<string, unknown>,
    });
  }
}
