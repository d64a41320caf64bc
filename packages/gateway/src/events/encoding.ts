import { batchEncodings, batchHeaderBytes, encodeRows, writeBatchHeader } from '@cloudos/client';
import type { RecordedEvent, StoredBatch } from '@cloudos/sdk';
import { deflated, deflateMinBytes } from './deflate.ts';
import { framed, frameHeaderBytes, opcodes, writeFrameHeader } from './frames.ts';

/** How events and control messages become bytes on one kind of connection. */
export type EncodingName = 'standard' | 'standard-deflate' | 'compact' | 'compact-deflate' | 'ndjson' | 'sse';

/** Several events one behind the other: `ends[n]` is where event `n` ends. */
export interface Framed {
  readonly bytes: Buffer;
  readonly ends: readonly number[];
}

/** One event a message, for the encodings that have that. `texts` are the CloudEvents of the events. */
export function frameEvents(
  encoding: EncodingName,
  events: readonly RecordedEvent[],
  texts: readonly string[],
): Framed {
  switch (encoding) {
    case 'standard':
      return frameTexts(texts);
    case 'standard-deflate':
      return joined(texts.map((text) => messageOf(encoding, Buffer.from(text), opcodes.text)));
    case 'ndjson':
      return joined(texts.map((text) => Buffer.from(`${text}\n`)));
    case 'sse':
      return joined(texts.map((text, index) => Buffer.from(`id: ${events[index]?.position}\ndata: ${text}\n\n`)));
    default:
      throw new Error(`${encoding} has no frame for a single event`);
  }
}

/** True when each batch is one message, however many events are in it. */
export function isBatched(encoding: EncodingName): boolean {
  return encoding === 'compact' || encoding === 'compact-deflate';
}

function frameTexts(texts: readonly string[]): Framed {
  const lengths = texts.map((text) => Buffer.byteLength(text));
  const total = lengths.reduce((sum, length) => sum + length + frameHeaderBytes(length), 0);
  const bytes = Buffer.allocUnsafeSlow(total);
  const ends = new Array<number>(texts.length);
  let at = 0;
  for (let index = 0; index < texts.length; index++) {
    const length = lengths[index] as number;
    at = writeFrameHeader(bytes, at, length, opcodes.text);
    bytes.write(texts[index] as string, at);
    at += length;
    ends[index] = at;
  }
  return { bytes, ends };
}

function joined(parts: readonly Buffer[]): Framed {
  let at = 0;
  const ends = parts.map((part) => {
    at += part.length;
    return at;
  });
  return { bytes: Buffer.concat(parts, at), ends };
}

/** One message of a WebSocket connection, compressed where that was agreed and is of use. */
export function messageOf(encoding: EncodingName, payload: Buffer, opcode: number): Buffer {
  if (!encoding.endsWith('-deflate') || payload.length < deflateMinBytes) return framed(payload, opcode);
  return framed(deflated(payload), opcode, true);
}

/** Events of one message of rows, for the same reason as {@link storedMessageMaxBytes}: about 16 KiB. */
const rowsOfMessageMax = 32;

/** Messages of rows, one behind the other, which cover everything up to `last`. */
export function rowsMessages(encoding: EncodingName, events: readonly RecordedEvent[], last: number): Buffer {
  if (events.length <= rowsOfMessageMax) return rowsMessage(encoding, events, last);
  const messages: Buffer[] = [];
  for (let at = 0; at < events.length; at += rowsOfMessageMax) {
    const part = events.slice(at, at + rowsOfMessageMax);
    const isEnd = at + rowsOfMessageMax >= events.length;
    messages.push(rowsMessage(encoding, part, isEnd ? last : (part.at(-1) as RecordedEvent).position));
  }
  return Buffer.concat(messages);
}

function rowsMessage(encoding: EncodingName, events: readonly RecordedEvent[], last: number): Buffer {
  const rows = Buffer.from(encodeRows(events));
  const payload = Buffer.allocUnsafe(batchHeaderBytes + rows.length);
  const first = events[0]?.position ?? last;
  header(payload, 0, { bytes: rows.length, encoding: batchEncodings.rows, count: events.length, first, last });
  rows.copy(payload, batchHeaderBytes);
  return messageOf(encoding, payload, opcodes.binary);
}

/**
 * Bytes of one message of stored batches, unless a single batch has more. A client reads 64 KiB at a time: what lies
 * within is taken as it is, what goes beyond is copied together, and allocating for that costs it more than the messages.
 */
export const storedMessageMaxBytes = 16 * 1024;

/** Messages of batches as they are stored, one behind the other; of the first batch, what comes before `from` is not meant. */
export function storedMessages(encoding: EncodingName, batches: readonly StoredBatch[], from: number): Buffer {
  const messages: { bytes: number; readonly batches: StoredBatch[] }[] = [];
  for (const batch of batches) {
    const bytes = batchHeaderBytes + batch.bytes.length;
    const message = messages.at(-1);
    if (message && message.bytes + bytes <= storedMessageMaxBytes) {
      message.bytes += bytes;
      message.batches.push(batch);
    } else messages.push({ bytes, batches: [batch] });
  }
  if (encoding.endsWith('-deflate')) {
    const payloads = messages.map(({ bytes, batches: some }) => {
      const payload = Buffer.allocUnsafe(bytes);
      writeStored(payload, 0, some, from);
      return messageOf(encoding, payload, opcodes.binary);
    });
    return Buffer.concat(payloads);
  }
  const frames = Buffer.allocUnsafeSlow(messages.reduce((sum, { bytes }) => sum + frameHeaderBytes(bytes) + bytes, 0));
  let at = 0;
  for (const { bytes, batches: some } of messages) {
    at = writeFrameHeader(frames, at, bytes, opcodes.binary);
    at = writeStored(frames, at, some, from);
  }
  return frames;
}

/** Returns where they end. */
function writeStored(target: Buffer, begin: number, batches: readonly StoredBatch[], from: number): number {
  let at = begin;
  for (const batch of batches) {
    const first = Math.max(from, batch.first);
    const last = batch.first + batch.count - 1;
    const stored = batchEncodings.stored;
    header(target, at, { bytes: batch.bytes.length, encoding: stored, count: last - first + 1, first, last });
    target.set(batch.bytes, at + batchHeaderBytes);
    at += batchHeaderBytes + batch.bytes.length;
  }
  return at;
}

/** What the stored batches after it refer to. */
export function structuresMessage(encoding: EncodingName, structures: Uint8Array): Buffer {
  const payload = Buffer.allocUnsafe(batchHeaderBytes + structures.length);
  header(payload, 0, { bytes: structures.length, encoding: batchEncodings.structures, count: 0, first: 0, last: 0 });
  payload.set(structures, batchHeaderBytes);
  return messageOf(encoding, payload, opcodes.binary);
}

function header(target: Buffer, at: number, fields: Parameters<typeof writeBatchHeader>[2]): void {
  writeBatchHeader(new DataView(target.buffer, target.byteOffset, target.length), at, fields);
}
