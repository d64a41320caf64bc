import { type EventFilter, type EventsPage, eventsPageMax, toCloudEvent } from '@cloudos/client';
import { type Kernel, kernelVersion } from '@cloudos/kernel';
import { CloudosError, type GlobalRange, type RecordedEvent } from '@cloudos/sdk';
import type { Context } from 'hono';
import { z } from 'zod';
import type { Access } from '../access/access.ts';
import type { Principal } from '../access/principal.ts';
import { type GatewayEnv, type Route, route } from '../routes/route.ts';
import { asyncApiDocument } from './asyncapi.ts';
import { eventsPageSchema, feedLine } from './cloud-event.schema.ts';
import type { Feed } from './feed.ts';
import { compileFilters } from './feed-filter.ts';
import { feedQuery, filtersOf, startOf } from './feed-query.ts';
import { feedResponse, streamFormOf, streamForms } from './feed-response.ts';

export interface FeedRouteContext {
  readonly kernel: Kernel;
  readonly feed: Feed;
  readonly access: Access;
}

/** Query parameters of one page of events. */
export const pageQuery = feedQuery.extend({
  limit: z.coerce.number().int().min(1).max(eventsPageMax).default(100),
  direction: z.enum(['forwards', 'backwards']).default('forwards'),
  format: z.enum(['json', 'ndjson', 'sse']).optional(),
});
type PageQuery = z.output<typeof pageQuery>;

/** `GET /v1/events`: one page as JSON, or the feed as JSON lines or Server-Sent Events. */
export function eventRoutes(context: FeedRouteContext): Route[] {
  return [
    route({
      id: 'readEvents',
      method: 'GET',
      path: '/v1/events',
      summary:
        'A page of recorded events; with `format` or `Accept` of JSON lines or Server-Sent Events, a feed that goes on. Upgraded to a WebSocket: a subscription (see the AsyncAPI document).',
      scope: 'events:read',
      query: pageQuery,
      answer: {
        description: 'Events in the order asked for; `next` is the `from` of the next page, where there is one.',
        content: {
          'application/json': eventsPageSchema,
          [streamForms.ndjson.contentType]: feedLine,
          [streamForms.sse.contentType]: undefined,
        },
      },
      errors: ['POSITION_OUT_OF_RANGE', 'LOG_TRIMMED', 'SUBSCRIPTIONS_EXCEEDED'],
      handle: ({ query, principal, context: c }) => answer(context, query, principal, c),
    }),
    route({
      id: 'getAsyncApi',
      method: 'GET',
      path: '/v1/asyncapi.json',
      summary: 'The messages of the event feed, as an AsyncAPI document.',
      scope: 'any',
      answer: { description: 'AsyncAPI 3.0.', content: { 'application/json': undefined } },
      handle: () => Response.json(asyncApiDocument(kernelVersion)),
    }),
  ];
}

async function answer(
  { kernel, feed, access }: FeedRouteContext,
  query: PageQuery,
  principal: Principal,
  c: Context<GatewayEnv>,
): Promise<Response> {
  if (query.subscription !== undefined) {
    throw new CloudosError(
      'REQUEST_MALFORMED',
      `events of the subscription ${query.subscription} were asked for without a WebSocket`,
      {
        remedy: 'Connect with a WebSocket: what a named subscription hands out is acknowledged on its control channel.',
      },
    );
  }
  const filter = filtersOf(query, principal);
  const form = streamFormOf(query.format, c.req.header('accept'));
  if (form === undefined) return Response.json(await eventsPage(kernel, query, filter));
  const release = access.admission.subscription(principal);
  const { outgoing } = c.env;
  outgoing.once('close', release);
  return feedResponse({ kernel, feed }, form, query, filter, {
    lastEventId: c.req.header('last-event-id'),
    // A client that has half-closed its connection would otherwise keep ours open.
    onLeft: () => outgoing.destroy(),
  });
}

/** Positions that one page passes over at most when nothing matches: the next page goes on behind them. */
export const pageScanMax = 262_144;

/** Reads one event more than the page holds, to know whether another page follows. */
async function eventsPage(kernel: Kernel, query: PageQuery, asked: EventFilter): Promise<EventsPage> {
  const { log } = kernel;
  const { stack } = kernel.status();
  const head = log.head();
  const filter = await compileFilters([asked], log);
  const backwards = query.direction === 'backwards';
  const from = query.from === undefined ? undefined : await startOf(query.from, log);
  const begin = from ?? (backwards ? head : log.first());
  // What the log evaluates itself it scans to the end; the rest is bounded here.
  const end = filter.isOfLog ? query.to : bounded(query.to, begin, backwards, head);
  const found: RecordedEvent[] = [];
  const batches = log.read({
    direction: query.direction,
    ...(filter.isOfLog && { limit: query.limit + 1 }),
    ...known(backwards ? 'from' : 'to', backwards ? from : end, filter.logFilterTo),
    ...known(backwards ? 'to' : 'from', backwards ? end : from, Number.POSITIVE_INFINITY),
    ...(filter.logFilter && { filter: filter.logFilter }),
  });
  for await (const batch of batches) {
    for (const event of batch) if (!filter.matches || filter.matches(event)) found.push(event);
    if (found.length > query.limit) break;
  }
  const next = found[query.limit]?.position ?? behind(end, query.to, backwards);
  const events = found.slice(0, query.limit).map((event) => toCloudEvent(event, stack));
  return { events, head, ...(next === undefined ? {} : { next }) };
}

/** Where the page after one goes on that was scanned to an end of its own; undefined: there is no more. */
function behind(end: number | undefined, to: number | undefined, backwards: boolean): number | undefined {
  if (end === undefined || end === to) return undefined;
  return backwards ? end - 1 : end + 1;
}

/** A bound of a range, no further than the log can tell of. */
function known(name: 'from' | 'to', position: number | undefined, to: number): GlobalRange {
  const bound = Math.min(position ?? Number.POSITIVE_INFINITY, to);
  return bound === Number.POSITIVE_INFINITY ? {} : { [name]: bound };
}

function bounded(to: number | undefined, begin: number, backwards: boolean, head: number): number | undefined {
  const limit = backwards ? Math.max(0, begin - pageScanMax) : begin + pageScanMax;
  if (to === undefined) return backwards ? (limit > 0 ? limit : undefined) : limit < head ? limit : undefined;
  return backwards ? Math.max(to, limit) : Math.min(to, limit);
}
