import { readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { isSound } from './checked-row.ts';

/** Records begin at multiples of this, so that writing one never touches a sector that holds another. */
export const recordAlignment = 512;

const magic = 0x31726a63;
const headerBytes = 32;
const entryBytes = 8;
const flags = { structures: 1 } as const;
/** No record is longer; a header that says so is none. */
export const recordBytesMax = 16 * 1024 * 1024;

/**
 * What a record of the journal says of itself. Little-endian: magic, CRC-32 of all that follows up to the payload, bytes
 * of the whole record, number of entries, flags, first and last position; then for each entry its bytes and the CRC-32
 * that it begins with; then the entries: the record structures if they are new, and the blocks of one commit.
 */
export interface RecordHeader {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly hasStructures: boolean;
  /** Where each entry begins and ends, counted from the record. */
  readonly entries: readonly (readonly [begin: number, end: number, checksum: number])[];
}

/** What a record holds. Entries are rows with a checksum of their own. */
export interface JournalRecord {
  readonly first: number;
  readonly last: number;
  readonly structures: Buffer | undefined;
  readonly blocks: readonly Buffer[];
}

/** Bytes that a record takes in the journal. */
export function recordBytes(entries: readonly Uint8Array[]): number {
  let bytes = headerBytes + entries.length * entryBytes;
  for (const entry of entries) bytes += entry.length;
  return bytes;
}

/** The bytes that come before the entries. The result is valid until the next call. */
export function recordHead(
  entries: readonly Buffer[],
  { first, last, hasStructures }: Pick<RecordHeader, 'first' | 'last' | 'hasStructures'>,
): Buffer {
  const length = headerBytes + entries.length * entryBytes;
  if (scratch.length < length) scratch = Buffer.alloc(length * 2);
  const head = scratch.subarray(0, length);
  head.writeUInt32LE(magic, 0);
  head.writeUInt32LE(recordBytes(entries), 8);
  head.writeUInt16LE(entries.length, 12);
  head.writeUInt16LE(hasStructures ? flags.structures : 0, 14);
  head.writeDoubleLE(first, 16);
  head.writeDoubleLE(last, 24);
  let at = headerBytes;
  for (const entry of entries) {
    head.writeUInt32LE(entry.length, at);
    entry.copy(head, at + 4, 0, 4);
    at += entryBytes;
  }
  head.writeUInt32LE(crc32(head.subarray(8)), 4);
  return head;
}

let scratch = Buffer.alloc(4096);

/** Reads bytes of a file from a place on, as many as there are. */
export function readAt(fd: number, at: number, bytes: number, into = Buffer.allocUnsafeSlow(bytes)): Buffer {
  let done = 0;
  while (done < bytes) {
    const read = readSync(fd, into, done, bytes - done, at + done);
    if (read === 0) break;
    done += read;
  }
  return into.subarray(0, done);
}

const glance = Buffer.allocUnsafeSlow(recordAlignment);

/** The header of the record at a place of a segment, undefined where there is none. */
export function readHeader(fd: number, at: number): RecordHeader | undefined {
  let head = readAt(fd, at, recordAlignment, glance);
  const length = headLength(head);
  if (length === undefined) return undefined;
  if (length > head.length) head = readAt(fd, at, length);
  return parseHead(head, length);
}

/** Whether a header could begin with these bytes: worth a closer look. */
export function looksLikeRecord(bytes: Buffer, at: number): boolean {
  return bytes.length - at >= headerBytes && bytes.readUInt32LE(at) === magic;
}

/** Reads the entries of a record and checks each. Undefined where one is not what was written. */
export function readEntries(fd: number, at: number, header: RecordHeader): JournalRecord | undefined {
  const bytes = readAt(fd, at, header.bytes);
  if (bytes.length < header.bytes) return undefined;
  const entries: Buffer[] = [];
  for (const [begin, end, checksum] of header.entries) {
    const entry = bytes.subarray(begin, end);
    if (!isSound(entry) || entry.readUInt32LE(0) !== checksum) return undefined;
    entries.push(entry);
  }
  const structures = header.hasStructures ? entries.shift() : undefined;
  return { first: header.first, last: header.last, structures, blocks: entries };
}

function headLength(head: Buffer): number | undefined {
  if (!looksLikeRecord(head, 0) || head.readUInt32LE(8) > recordBytesMax) return undefined;
  return headerBytes + head.readUInt16LE(12) * entryBytes;
}

function parseHead(head: Buffer, length: number): RecordHeader | undefined {
  if (head.length < length || crc32(head.subarray(8, length)) !== head.readUInt32LE(4)) return undefined;
  const entries: [number, number, number][] = [];
  let begin = length;
  for (let at = headerBytes; at < length; at += entryBytes) {
    const end = begin + head.readUInt32LE(at);
    entries.push([begin, end, head.readUInt32LE(at + 4)]);
    begin = end;
  }
  const bytes = head.readUInt32LE(8);
  if (begin !== bytes) return undefined;
  const hasStructures = (head.readUInt16LE(14) & flags.structures) !== 0;
  return { first: head.readDoubleLE(16), last: head.readDoubleLE(24), bytes, hasStructures, entries };
}

/** The place of the next record. */
export function afterRecord(at: number, bytes: number): number {
  return Math.ceil((at + bytes) / recordAlignment) * recordAlignment;
}
