import { type CloudEvent, type ControlName, controlTypePrefix, type EventsPage } from '@cloudos/client';
import { z } from 'zod';
import { count, describes, positionOrNone } from '../routes/shapes.ts';
import { controlMarkers } from './control-schemas.ts';

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

/** A marker where every message is a CloudEvent. */
function controlEvent<Name extends ControlName>(name: Name) {
  return z.object({
    specversion: z.literal('1.0'),
    type: z.literal(`${controlTypePrefix}${name}`),
    source: z.string(),
    id: z.string(),
    time: z.iso.datetime(),
    datacontenttype: z.literal('application/json'),
    data: controlMarkers[name].data,
  });
}

/** A line of the feed as JSON lines. */
export const feedLine = z.union([cloudEvent, controlEvent('Live'), controlEvent('Heartbeat'), controlEvent('Gap')]);

export const eventsPageSchema = describes<EventsPage>()(
  z.object({ events: z.array(cloudEvent), head: positionOrNone, next: count.optional() }),
);
