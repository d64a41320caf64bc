import { type EventKeyKind, eventKeyKinds, type RecordedEvent, visitKeys } from '@cloudos/sdk';

/** Positions of one segment. Segments begin at its multiples. */
export const segmentPositions = 4096;
/** Positions of one bucket: the finest that a summary tells apart. */
export const bucketPositions = 64;

/** A bit for each bucket of a segment: the first 32, and those after them. */
export interface BucketMask {
  readonly low: number;
  readonly high: number;
}

export const allBuckets: BucketMask = { low: -1, high: -1 };
export const noBucket: BucketMask = { low: 0, high: 0 };

const headBytes = 4;
const maskBytes = 8;
/** More types than that in one segment, or longer ones, are not told apart: its summary holds none, any bucket may have any. */
const typesMax = 1024;
const typeLengthMax = 1024;

/** The segment that a position is in. */
export function segmentOf(position: number): number {
  return Math.floor(position / segmentPositions);
}

/** The bucket of its segment that a position is in. */
export function bucketOf(position: number): number {
  return Math.floor((position % segmentPositions) / bucketPositions);
}

/**
 * In which buckets of a segment each type and each key occurs. Little-endian: u16 types, u16 zero; for each type u16 bytes
 * of its name, the mask of its buckets (two u32) and the name; then the hashes of the keys (u32, ascending), one behind the
 * other, and behind them as many masks. A key whose hash another one has shares its mask: a summary may name a bucket
 * too many, never one too few.
 */
export function summarize(events: readonly RecordedEvent[]): Buffer {
  const types = new Map<string, Marks>();
  const values = new Map<EventKeyKind, Map<string, Marks>>();
  let bucket = 0;
  let isOverfull = false;
  const visit = (kind: EventKeyKind, value: string) => mark(mapOf(values, kind), value, bucket);
  for (const event of events) {
    bucket = bucketOf(event.position);
    isOverfull ||= event.type.length > typeLengthMax || types.size > typesMax;
    if (!isOverfull) mark(types, event.type, bucket);
    visitKeys(event, visit);
  }
  return encode(isOverfull ? new Map() : types, hashed(values), isOverfull);
}

/** The buckets in which a type occurs that a predicate takes. */
export function bucketsOfTypes(summary: Buffer, takes: (type: string) => boolean): BucketMask {
  if (summary.readUInt16LE(2) !== 0) return allBuckets;
  let low = 0;
  let high = 0;
  let at = headBytes;
  for (let left = summary.readUInt16LE(0); left > 0; left--) {
    const nameAt = at + 2 + maskBytes;
    const end = nameAt + summary.readUInt16LE(at);
    if (takes(summary.toString('utf8', nameAt, end))) {
      low |= summary.readInt32LE(at + 2);
      high |= summary.readInt32LE(at + 6);
    }
    at = end;
  }
  return { low, high };
}

/** The buckets in which one of the hashes occurs. `hashes` are ascending, `among` the same as a set. */
export function bucketsOfHashes(summary: Buffer, hashes: Uint32Array, among: ReadonlySet<number>): BucketMask {
  const begin = hashesAt(summary);
  const count = (summary.length - begin) / (4 + maskBytes);
  const masksAt = begin + count * 4;
  let low = 0;
  let high = 0;
  const take = (index: number) => {
    low |= summary.readInt32LE(masksAt + index * maskBytes);
    high |= summary.readInt32LE(masksAt + index * maskBytes + 4);
  };
  if (hashes.length * Math.log2(count + 2) > count * 2) {
    for (let index = 0; index < count; index++) if (among.has(summary.readUInt32LE(begin + index * 4))) take(index);
  } else {
    for (const hash of hashes) {
      const index = find(summary, begin, count, hash);
      if (index >= 0) take(index);
    }
  }
  return { low, high };
}

/** FNV-1a over the kind and the characters. */
export function hashOfKey(kind: EventKeyKind, value: string): number {
  let hash = Math.imul(0x811c9dc5 ^ eventKeyKinds.indexOf(kind), 0x01000193);
  for (let index = 0; index < value.length; index++) hash = Math.imul(hash ^ value.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

interface Marks {
  low: number;
  high: number;
}

function mark(marks: Map<string, Marks>, value: string, bucket: number): void {
  let found = marks.get(value);
  if (!found) {
    found = { low: 0, high: 0 };
    marks.set(value, found);
  }
  if (bucket < 32) found.low |= 1 << bucket;
  else found.high |= 1 << (bucket - 32);
}

function mapOf(values: Map<EventKeyKind, Map<string, Marks>>, kind: EventKeyKind): Map<string, Marks> {
  let map = values.get(kind);
  if (!map) {
    map = new Map();
    values.set(kind, map);
  }
  return map;
}

function hashed(values: ReadonlyMap<EventKeyKind, ReadonlyMap<string, Marks>>): Map<number, Marks> {
  const byHash = new Map<number, Marks>();
  for (const [kind, marks] of values) {
    for (const [value, { low, high }] of marks) {
      const hash = hashOfKey(kind, value);
      const other = byHash.get(hash);
      byHash.set(hash, other ? { low: low | other.low, high: high | other.high } : { low, high });
    }
  }
  return byHash;
}

function encode(types: ReadonlyMap<string, Marks>, keys: ReadonlyMap<number, Marks>, isOverfull: boolean): Buffer {
  const names = [...types].map(([name, marks]) => ({ name: Buffer.from(name), marks }));
  const typeBytes = names.reduce((sum, { name }) => sum + 2 + maskBytes + name.length, 0);
  const summary = Buffer.alloc(headBytes + typeBytes + keys.size * (4 + maskBytes));
  summary.writeUInt16LE(names.length, 0);
  summary.writeUInt16LE(isOverfull ? 1 : 0, 2);
  let at = headBytes;
  for (const { name, marks } of names) {
    summary.writeUInt16LE(name.length, at);
    writeMask(summary, at + 2, marks);
    at += 2 + maskBytes + name.copy(summary, at + 2 + maskBytes);
  }
  const hashes = Uint32Array.from(keys.keys()).sort();
  const masksAt = at + hashes.length * 4;
  for (const [index, hash] of hashes.entries()) {
    summary.writeUInt32LE(hash, at + index * 4);
    writeMask(summary, masksAt + index * maskBytes, keys.get(hash)!);
  }
  return summary;
}

function writeMask(summary: Buffer, at: number, { low, high }: Marks): void {
  summary.writeInt32LE(low | 0, at);
  summary.writeInt32LE(high | 0, at + 4);
}

function hashesAt(summary: Buffer): number {
  let at = headBytes;
  for (let left = summary.readUInt16LE(0); left > 0; left--) at += 2 + maskBytes + summary.readUInt16LE(at);
  return at;
}

function find(summary: Buffer, begin: number, count: number, hash: number): number {
  let low = 0;
  let high = count - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const there = summary.readUInt32LE(begin + middle * 4);
    if (there === hash) return middle;
    if (there < hash) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
