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

/**
 * Writes events as the text of {@link toCloudEvent}, several times as fast as making the object: what many events have
 * in common (type, stream, metadata) is rendered once.
 */
export class CloudEventWriter {
  readonly #source: string;
  readonly #heads = new Map<string, string>();
  readonly #subjects = new Map<string, string>();
  #meta: RecordedEvent['meta'] | undefined;
  #metaText = '';
  #time = Number.NaN;
  #timeText = '';

  constructor(stack: string) {
    this.#source = JSON.stringify(`/cloudos/${encodeURIComponent(stack)}`);
  }

  write(event: RecordedEvent): string {
    if (event.time !== this.#time) {
      this.#timeText = new Date(event.time).toISOString();
      this.#time = event.time;
    }
    if (event.meta !== this.#meta) {
      this.#metaText = metaText(event.meta);
      this.#meta = event.meta;
    }
    const id = plainId.test(event.id) ? `"${event.id}"` : JSON.stringify(event.id);
    const data = JSON.stringify(event.data);
    return `${this.#head(event.type)}${id},"time":"${this.#timeText}","subject":${this.#subject(event.stream)},"datacontenttype":"application/json","position":${event.position},"revision":${event.revision},${this.#metaText}${data === undefined ? '}' : `,"data":${data}}`}`;
  }

  #head(type: string): string {
    return remembered(
      this.#heads,
      type,
      () =>
        `{"specversion":"1.0","type":${JSON.stringify(`${cloudEventTypePrefix}${type}`)},"source":${this.#source},"id":`,
    );
  }

  #subject(stream: string): string {
    return remembered(this.#subjects, stream, () => JSON.stringify(stream));
  }
}

const plainId = /^[0-9a-fA-F-]+$/;
/** How many types and streams a writer remembers the text of. */
const remembersMax = 4096;

function remembered(texts: Map<string, string>, key: string, make: () => string): string {
  let text = texts.get(key);
  if (text === undefined) {
    text = make();
    if (texts.size >= remembersMax) texts.clear();
    texts.set(key, text);
  }
  return text;
}

function metaText({ schema, producer, causation, correlation, traceparent }: RecordedEvent['meta']): string {
  let text = `"schemaversion":${schema},"producer":${JSON.stringify(producer.plugin)},"generation":${producer.generation}`;
  if (causation !== undefined) text += `,"causation":${causation}`;
  if (correlation !== undefined) text += `,"correlation":${JSON.stringify(correlation)}`;
  if (traceparent !== undefined) text += `,"traceparent":${JSON.stringify(traceparent)}`;
  return text;
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
