import type { EventMeta, RecordedEvent } from '@cloudos/sdk';
import { BlockDecoder } from './block-decoder.ts';

/** WebSocket subprotocols of the event feed. */
export const subprotocols = {
  /** One CloudEvents 1.0 JSON object a text message; also what is spoken when none is asked for. */
  standard: 'cloudevents.json',
  /** Batches in binary messages, control in text messages. Described in docs/events-protocol.md. */
  compact: 'cloudos.batch.v1',
} as const;

/** What stands in a batch. */
export const batchEncodings = { structures: 0, rows: 1, stored: 2 } as const;

/** Bytes of the header of each batch. */
export const batchHeaderBytes = 24;

/**
 * The header of a batch, little-endian: u32 bytes of what follows it, u8 encoding, u8 zero, u16 count of events,
 * f64 first position, f64 last position that the batch covers (events that the filter left out included).
 */
export function writeBatchHeader(
  target: DataView,
  at: number,
  header: {
    readonly bytes: number;
    readonly encoding: number;
    readonly count: number;
    readonly first: number;
    readonly last: number;
  },
): void {
  target.setUint32(at, header.bytes, true);
  target.setUint8(at + 4, header.encoding);
  target.setUint8(at + 5, 0);
  target.setUint16(at + 6, header.count, true);
  target.setFloat64(at + 8, header.first, true);
  target.setFloat64(at + 16, header.last, true);
}

/** An event as a row: position, stream, revision, id, type, time, which of the metadata, data. */
type Row = readonly [number, string, number, string, string, number, number, unknown?];

/** The content of a batch of rows. Metadata stand once for all events that share them. */
interface Rows {
  readonly meta: readonly EventMeta[];
  readonly rows: readonly Row[];
}

/** The text of a batch of rows. */
export function encodeRows(events: readonly RecordedEvent[]): string {
  const metas: EventMeta[] = [];
  let rows = '';
  for (const event of events) {
    if (metas.at(-1) !== event.meta) metas.push(event.meta);
    const data = JSON.stringify(event.data);
    rows += `${rows === '' ? '' : ','}[${event.position},${JSON.stringify(event.stream)},${event.revision},${JSON.stringify(event.id)},${JSON.stringify(event.type)},${event.time},${metas.length - 1}${data === undefined ? '' : `,${data}`}]`;
  }
  return `{"meta":${JSON.stringify(metas)},"rows":[${rows}]}`;
}

/** What a message of the compact subprotocol holds. */
export interface DecodedBatch {
  readonly events: readonly RecordedEvent[];
  /** Everything up to and including this position has been told. */
  readonly last: number;
}

/**
 * Decodes the binary messages of one connection. They have to be given in the order in which they came: stored batches
 * refer to structures that were sent before.
 * @throws Error when the bytes are no batch, which is a defect of the other end
 */
export class BatchDecoder {
  readonly #text = new TextDecoder();
  readonly #blocks = new BlockDecoder();

  decode(message: Uint8Array): DecodedBatch {
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    let events: RecordedEvent[] = [];
    let last = -1;
    for (let at = 0; at < message.length; ) {
      if (at + batchHeaderBytes > message.length) throw new Error(`a batch header is cut off at byte ${at}`);
      const bytes = view.getUint32(at, true);
      const encoding = view.getUint8(at + 4);
      const first = view.getFloat64(at + 8, true);
      const content = message.subarray(at + batchHeaderBytes, at + batchHeaderBytes + bytes);
      if (content.length !== bytes) throw new Error(`a batch of ${bytes} bytes is cut off after ${content.length}`);
      at += batchHeaderBytes + bytes;
      if (encoding === batchEncodings.structures) {
        this.#blocks.learn(this.#text.decode(content));
        continue;
      }
      last = view.getFloat64(at - bytes - 8, true);
      const batch = this.#events(encoding, content, first);
      if (events.length === 0) events = batch;
      else for (const event of batch) events.push(event);
    }
    return { events, last };
  }

  #events(encoding: number, content: Uint8Array, first: number): RecordedEvent[] {
    if (encoding === batchEncodings.rows) return decodeRows(JSON.parse(this.#text.decode(content)) as Rows);
    if (encoding === batchEncodings.stored) {
      const events = this.#blocks.decode(content);
      const skip = events.findIndex(({ position }) => position >= first);
      return skip <= 0 ? (skip < 0 ? [] : events) : events.slice(skip);
    }
    throw new Error(`a batch has encoding ${encoding}, known are ${Object.values(batchEncodings).join(', ')}`);
  }
}

function decodeRows({ meta, rows }: Rows): RecordedEvent[] {
  return rows.map(([position, stream, revision, id, type, time, which, data]) => ({
    position,
    stream,
    revision,
    id,
    type,
    time,
    data,
    meta: meta[which] as EventMeta,
  }));
}
