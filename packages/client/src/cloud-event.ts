import type { RecordedEvent } from '@cloudos/sdk';

/** The WebSocket subprotocol that carries one CloudEvent as JSON in each message (CloudEvents WebSockets binding 1.0). */
export const cloudEventsProtocol = 'cloudevents.json';

/** What stands before the event type in the CloudEvents `type` attribute. */
export const cloudEventTypePrefix = 'io.cloudos.';

/**
 * An event as it crosses the wire: CloudEvents 1.0 in the JSON event format (cloudevents/spec 1.0.2, json-format),
 * one object a WebSocket message.
 *
 * `position` and `revision` are extension attributes and stand as JSON numbers, which are exact up to 2^53
 * (the Integer of the CloudEvents type system ends at 2^31).
 */
export interface CloudEvent {
  readonly specversion: '1.0';
  /** `io.cloudos.<Type>`; private events keep their name: `io.cloudos.x-<plugin>-<Name>`. */
  readonly type: string;
  /** `/cloudos/<stack>`. */
  readonly source: string;
  readonly id: string;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
  /** The stream. */
  readonly subject: string;
  readonly datacontenttype: 'application/json';
  readonly data: unknown;
  /** Global position. Resume with `from=<position + 1>`. */
  readonly position: number;
  readonly revision: number;
  /** Version of the schema of `data`. */
  readonly schemaversion: number;
  /** Plugin that wrote the event, and which generation of it. */
  readonly producer: string;
  readonly generation: number;
  /** Position up to which the writer had handled the log. */
  readonly causation?: number;
  /** What a chain of events has in common: the id of the command that began it. */
  readonly correlation?: string;
  /** W3C Trace Context (CloudEvents distributed tracing extension). */
  readonly traceparent?: string;
}

/** The wire form of an event of that stack. */
export function toCloudEvent(event: RecordedEvent, stack: string): CloudEvent {
  const { meta } = event;
  return {
    specversion: '1.0',
    type: `${cloudEventTypePrefix}${event.type}`,
    source: `/cloudos/${encodeURIComponent(stack)}`,
    id: event.id,
    time: new Date(event.time).toISOString(),
    subject: event.stream,
    datacontenttype: 'application/json',
    position: event.position,
    revision: event.revision,
    schemaversion: meta.schema,
    producer: meta.producer.plugin,
    generation: meta.producer.generation,
    ...(meta.causation === undefined ? {} : { causation: meta.causation }),
    ...(meta.correlation === undefined ? {} : { correlation: meta.correlation }),
    ...(meta.traceparent === undefined ? {} : { traceparent: meta.traceparent }),
    data: event.data,
  };
}

/** The event that a wire form stands for. Does not check it: the other end is the gateway. */
export function fromCloudEvent(wire: CloudEvent): RecordedEvent {
  return {
    position: wire.position,
    stream: wire.subject,
    revision: wire.revision,
    id: wire.id,
    type: wire.type.startsWith(cloudEventTypePrefix) ? wire.type.slice(cloudEventTypePrefix.length) : wire.type,
    time: Date.parse(wire.time),
    data: wire.data,
    meta: {
      producer: { plugin: wire.producer, generation: wire.generation },
      schema: wire.schemaversion,
      ...(wire.causation === undefined ? {} : { causation: wire.causation }),
      ...(wire.correlation === undefined ? {} : { correlation: wire.correlation }),
      ...(wire.traceparent === undefined ? {} : { traceparent: wire.traceparent }),
    },
  };
}
