import { type CloudEvent, type EventsPage, toCloudEvent } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import type { Filter } from '@cloudos/sdk';
import { z } from 'zod';
import { readable } from '../access/principal.ts';
import { type EventsPageQuery, eventsQuery, filterOf } from '../queries.ts';
import { type Route, route } from './route.ts';
import { count, describes, positionOrNone } from './shapes.ts';

export const cloudEvent = describes<CloudEvent>()(
  z.object({
    specversion: z.literal('1.0'),
    type: z.string().meta({ description: '`io.cloudos.` and the event type.' }),
    source: z.string(),
    id: z.string(),
    time: z.iso.datetime(),
    subject: z.string().meta({ description: 'The stream.' }),
    datacontenttype: z.literal('application/json'),
    position: count.meta({ description: 'Place in the total order over all streams.' }),
    revision: count.meta({ description: 'Place in the stream, from 0, without gaps.' }),
    schemaversion: count,
    producer: z.string(),
    generation: count,
    causation: positionOrNone.optional(),
    correlation: z.string().optional(),
    traceparent: z.string().optional(),
    data: z.unknown(),
  }),
);

const eventsPageSchema = describes<EventsPage>()(
  z.object({ events: z.array(cloudEvent), head: positionOrNone, next: count.optional() }),
);

/** Recorded events over plain HTTP. */
export function eventRoutes(kernel: Kernel): Route[] {
  return [
    route({
      id: 'readEvents',
      method: 'GET',
      path: '/v1/events',
      summary: 'A page of recorded events. Upgraded to a WebSocket: a subscription (see the AsyncAPI document).',
      scope: 'events:read',
      query: eventsQuery,
      answer: {
        description: 'Events in the order asked for; `next` is the `from` of the next page, where there is one.',
        content: { 'application/json': eventsPageSchema },
      },
      handle: async ({ query, principal }) =>
        Response.json(await eventsPage(kernel, query, readable(principal, filterOf(query)))),
    }),
  ];
}

/** Reads one event more than the page holds, to know whether another page follows. */
async function eventsPage(kernel: Kernel, query: EventsPageQuery, filter: Filter): Promise<EventsPage> {
  const { log } = kernel;
  const { stack } = kernel.status();
  const head = log.head();
  const events: EventsPage['events'][number][] = [];
  const batches = log.read({
    direction: query.direction,
    limit: query.limit + 1,
    ...(query.from === undefined ? {} : { from: query.from }),
    ...(query.to === undefined ? {} : { to: query.to }),
    filter,
  });
  for await (const batch of batches) for (const event of batch) events.push(toCloudEvent(event, stack));
  const following = events.length > query.limit ? events.pop() : undefined;
  return { events, head, ...(following === undefined ? {} : { next: following.position }) };
}
