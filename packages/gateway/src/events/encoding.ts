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

/** A message of rows, which covers everything up to `last`. */
export function rowsMessage(encoding: EncodingName, events: readonly RecordedEvent[], last: number): Buffer {
  const rows = Buffer.from(encodeRows(events));
  const payload = Buffer.allocUnsafe(batchHeaderBytes + rows.length);
  const first = events[0]?.position ?? last;
  header(payload, 0, { bytes: rows.length, encoding: batchEncodings.rows, count: events.length, first, last });
  rows.copy(payload, batchHeaderBytes);
  return messageOf(encoding, payload, opcodes.binary);
}

/** A message of batches as they are stored; of the first one, what comes before `from` is not meant. */
export function storedMessage(encoding: EncodingName, batches: readonly StoredBatch[], from: number): Buffer {
  const bytes = batches.reduce((sum, batch) => sum + batchHeaderBytes + batch.bytes.length, 0);
  const isPlain = !encoding.endsWith('-deflate');
  const message = Buffer.allocUnsafeSlow(bytes + (isPlain ? frameHeaderBytes(bytes) : 0));
  let at = isPlain ? writeFrameHeader(message, 0, bytes, opcodes.binary) : 0;
  for (const batch of batches) {
    const first = Math.max(from, batch.first);
    const last = batch.first + batch.count - 1;
    const stored = batchEncodings.stored;
    header(message, at, { bytes: batch.bytes.length, encoding: stored, count: last - first + 1, first, last });
    message.set(batch.bytes, at + batchHeaderBytes);
    at += batchHeaderBytes + batch.bytes.length;
  }
  return isPlain ? message : messageOf(encoding, message, opcodes.binary);
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
