import type { EventFilter } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError } from '@cloudos/sdk';
import type { EncodingName } from './encoding.ts';
import type { Feed } from './feed.ts';
import { assertReached, type FeedQuery, startOf } from './feed-query.ts';
import { BodySink } from './sink.ts';

/** The forms of the feed over plain HTTP. */
export const streamForms = {
  ndjson: { encoding: 'ndjson', contentType: 'application/x-ndjson' },
  sse: { encoding: 'sse', contentType: 'text/event-stream' },
} as const satisfies Record<string, { encoding: EncodingName; contentType: string }>;
export type StreamForm = keyof typeof streamForms;

/** Which form is asked for; undefined: one page of JSON. `format` in the query goes before the header. */
export function streamFormOf(format: string | undefined, accept: string | undefined): StreamForm | undefined {
  if (format !== undefined) return format === 'json' ? undefined : (format as StreamForm);
  if (accept?.includes('text/event-stream')) return 'sse';
  return accept?.includes('application/x-ndjson') ? 'ndjson' : undefined;
}

/**
 * The feed as an answer that goes on until the client leaves, or ends behind `to`.
 * @param lastEventId of an EventSource that comes back: its feed goes on after it
 */
export async function feedResponse(
  { kernel, feed }: { readonly kernel: Kernel; readonly feed: Feed },
  form: StreamForm,
  query: FeedQuery,
  filter: EventFilter,
  { lastEventId, onLeft }: { readonly lastEventId: string | undefined; readonly onLeft: () => void },
): Promise<Response> {
  const resumed = lastEventId ? afterId(lastEventId) : query.from;
  assertReached(resumed, kernel.log.head());
  const from = await startOf(resumed, kernel.log);
  const sink = new BodySink(onLeft);
  const { encoding, contentType } = streamForms[form];
  // Lets a client know that it is connected before the first event.
  if (form === 'sse') sink.write(new TextEncoder().encode('retry: 1000\n\n'));
  await feed.withFilter(filter, (compiled) =>
    feed.subscribe(compiled, encoding, sink, {
      from,
      to: query.to,
      markers: query.markers ?? form === 'sse',
      credit: query.credit ?? Number.POSITIVE_INFINITY,
      heartbeatMs: query.heartbeatMs,
      stored: false,
    }),
  );
  return new Response(sink.body, {
    headers: { 'content-type': contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  });
}

/**
 * The position behind the last id. To begin elsewhere for one that is none of ours would leave out events silently.
 * @throws CloudosError REQUEST_MALFORMED
 */
function afterId(lastEventId: string): number {
  // -1: of a log that was empty.
  if (/^(-1|\d{1,15})$/.test(lastEventId)) return Number(lastEventId) + 1;
  throw new CloudosError(
    'REQUEST_MALFORMED',
    `Last-Event-ID is ${JSON.stringify(lastEventId.slice(0, 60))}, expected the id of an event, which is its position`,
  );
}
