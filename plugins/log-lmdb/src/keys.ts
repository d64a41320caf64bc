/**
 * Keys of the one LMDB database. Blocks sort last, so that appending always touches the right edge of the tree.
 *
 * | prefix | rest | value |
 * | --- | --- | --- |
 * | `k` | segment | in which part of it each type and key of events occurs |
 * | `m` | name | `base`, `heads`, `watermark`, `structures` |
 * | `p` | stream, 0, revision | posting chunk: the blocks in which the stream goes on from that revision |
 * | `s` | key | snapshot |
 * | `z` | position | block that begins with that position |
 */
export const blockPrefix = 0x7a;
const postingPrefix = 0x70;
const blockKeyBytes = 9;

export const metaKeys = {
  base: Buffer.from('mbase'),
  heads: Buffer.from('mheads'),
  watermark: Buffer.from('mwatermark'),
  structures: Buffer.from('mstructures'),
} as const;

export function blockKey(position: number): Buffer {
  const key = Buffer.allocUnsafe(blockKeyBytes);
  key[0] = blockPrefix;
  writeUint64(key, position, 1);
  return key;
}

export function positionOfKey(key: Buffer): number {
  return key.length === blockKeyBytes && key[0] === blockPrefix ? readUint64(key, 1) : Number.NaN;
}

export const blocksEnd = Buffer.from([blockPrefix + 1]);
export const blocksBegin = Buffer.from([blockPrefix]);

export function postingKey(stream: string, revision: number): Buffer {
  const name = Buffer.from(stream);
  const key = Buffer.allocUnsafe(name.length + 10);
  key[0] = postingPrefix;
  name.copy(key, 1);
  key[name.length + 1] = 0;
  writeUint64(key, revision, name.length + 2);
  return key;
}

export function parsePostingKey(key: Buffer): { stream: string; revision: number } {
  return { stream: key.toString('utf8', 1, key.length - 9), revision: readUint64(key, key.length - 8) };
}

const summaryPrefix = 0x6b;

export function summaryKey(segment: number): Buffer {
  const key = Buffer.allocUnsafe(blockKeyBytes);
  key[0] = summaryPrefix;
  writeUint64(key, segment, 1);
  return key;
}

export function segmentOfKey(key: Buffer): number {
  return readUint64(key, 1);
}

export const summariesBegin = Buffer.from([summaryPrefix]);
export const summariesEnd = Buffer.from([summaryPrefix + 1]);

export const snapshotsBegin = Buffer.from('s');
export const snapshotsEnd = Buffer.from('t');

export const postingsBegin = Buffer.from([postingPrefix]);
export const postingsEnd = Buffer.from([postingPrefix + 1]);

export function snapshotKey(key: string): Buffer {
  return Buffer.from(`s${key}`);
}

export function writeUint64(target: Buffer, value: number, offset: number): void {
  target.writeUInt32BE(Math.floor(value / 2 ** 32), offset);
  target.writeUInt32BE(value >>> 0, offset + 4);
}

export function readUint64(source: Buffer, offset: number): number {
  return source.readUInt32BE(offset) * 2 ** 32 + source.readUInt32BE(offset + 4);
}
