import { checkedValue, sealRow } from './checked-row.ts';
import { parsePostingKey, postingKey } from './keys.ts';
import { corrupt, type Rows } from './store.ts';

const numberBytesMax = 8;
let scratch = Buffer.allocUnsafeSlow(64 * 1024);

/** A block and the first revision that the stream has in it. */
export interface Posting {
  readonly block: number;
  readonly revision: number;
}

/**
 * Which blocks a stream is in. New postings are held in memory and written in the background, a chunk a stream; what
 * was not written when the process ended is made anew from the headers of the last blocks.
 */
export class Postings {
  readonly #rows: Rows;
  /** Flat pairs (block, revision). */
  #pending = new Map<string, number[]>();
  #flushing = new Map<string, number[]>();
  #count = 0;

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  /** How many postings are held in memory and not being written. */
  get pending(): number {
    return this.#count;
  }

  get writing(): boolean {
    return this.#flushing.size > 0;
  }

  add(stream: string, block: number, revision: number): void {
    const pairs = this.#pending.get(stream);
    if (pairs) pairs.push(block, revision);
    else this.#pending.set(stream, [block, revision]);
    this.#count++;
  }

  /** Moves what is pending over to be written. The caller takes slices until there are none. */
  begin(): void {
    if (this.#flushing.size > 0) return;
    this.#flushing = this.#pending;
    this.#pending = new Map();
    this.#count = 0;
  }

  /** The next rows to write, of at most that many streams. They stay readable until {@link written}. */
  *slice(after: number, streams: number): Generator<{ key: Buffer; value: Buffer }> {
    let index = 0;
    for (const [stream, pairs] of this.#flushing) {
      if (index >= after + streams) return;
      if (index >= after) yield { key: postingKey(stream, pairs[1]!), value: encodePairs(pairs) };
      index++;
    }
  }

  get flushingStreams(): number {
    return this.#flushing.size;
  }

  /** All slices are on disk. */
  written(): void {
    this.#flushing = new Map();
  }

  /** What is not on disk yet. */
  *inMemory(): Generator<{ stream: string; pairs: readonly number[] }> {
    for (const part of [this.#flushing, this.#pending]) {
      for (const [stream, pairs] of part) yield { stream, pairs };
    }
  }

  /** Drops what is in memory. */
  reset(): void {
    this.#pending = new Map();
    this.#flushing = new Map();
    this.#count = 0;
  }

  /** The blocks of a stream in order, from the one that holds the revision on. */
  *forwards(stream: string, revision: number): Generator<Posting> {
    let last = -1;
    let key = this.#chunkAt(stream, revision) ?? this.#chunkAfter(stream, revision);
    while (key !== undefined) {
      const pairs = this.#chunk(stream, key);
      for (let index = 0; index < pairs.length; index += 2) {
        if (index + 2 < pairs.length && pairs[index + 3]! <= revision) continue;
        if (pairs[index]! <= last) continue;
        last = pairs[index]!;
        yield { block: last, revision: pairs[index + 1]! };
      }
      key = this.#chunkAfter(stream, pairs[pairs.length - 1]!);
    }
    for (const pairs of [this.#flushing.get(stream), this.#pending.get(stream)]) {
      if (!pairs) continue;
      const { length } = pairs;
      for (let index = 0; index < length; index += 2) {
        if (pairs[index]! <= last || (index + 2 < length && pairs[index + 3]! <= revision)) continue;
        last = pairs[index]!;
        yield { block: last, revision: pairs[index + 1]! };
      }
    }
  }

  /** The blocks of a stream, the last first, from the one that holds the revision on. */
  *backwards(stream: string, revision: number): Generator<Posting> {
    let last = Number.POSITIVE_INFINITY;
    for (const pairs of [this.#pending.get(stream), this.#flushing.get(stream)]) {
      for (let index = (pairs?.length ?? 0) - 2; index >= 0; index -= 2) {
        if (pairs![index]! >= last || pairs![index + 1]! > revision) continue;
        last = pairs![index]!;
        yield { block: last, revision: pairs![index + 1]! };
      }
    }
    let key = this.#chunkAt(stream, revision);
    while (key !== undefined) {
      const pairs = this.#chunk(stream, key);
      for (let index = pairs.length - 2; index >= 0; index -= 2) {
        if (pairs[index]! >= last || pairs[index + 1]! > revision) continue;
        last = pairs[index]!;
        yield { block: last, revision: pairs[index + 1]! };
      }
      key = key === 0 ? undefined : this.#chunkAt(stream, key - 1);
    }
  }

  /** First revision of the last chunk that begins at or before a revision. */
  #chunkAt(stream: string, revision: number): number | undefined {
    const range = { start: postingKey(stream, revision), end: postingKey(stream, 0), reverse: true, limit: 1 };
    if (this.#rows.get(range.start)) return revision;
    for (const key of this.#rows.getKeys(range)) return parsePostingKey(key).revision;
    return this.#rows.get(range.end) ? 0 : undefined;
  }

  #chunkAfter(stream: string, revision: number): number | undefined {
    const start = postingKey(stream, revision + 1);
    for (const key of this.#rows.getKeys({ start, end: postingKey(stream, Number.MAX_SAFE_INTEGER), limit: 1 })) {
      return parsePostingKey(key).revision;
    }
    return undefined;
  }

  #chunk(stream: string, revision: number): number[] {
    const pairs = decodePairs(this.#rows.get(postingKey(stream, revision)));
    if (!pairs) {
      throw corrupt(0, `the index row of stream ${stream} from revision ${revision} on is damaged`);
    }
    return pairs;
  }
}

/** Each number as its distance from the one two before it, in groups of seven bits, the lowest first. */
function encodePairs(pairs: readonly number[]): Buffer {
  if (scratch.length < pairs.length * numberBytesMax + 4) scratch = Buffer.allocUnsafeSlow(pairs.length * 16);
  let at = 4;
  for (let index = 0; index < pairs.length; index++) {
    let left = pairs[index]! - (index < 2 ? 0 : pairs[index - 2]!);
    for (; left > 127; left = Math.floor(left / 128)) scratch[at++] = (left & 127) | 128;
    scratch[at++] = left;
  }
  const row = Buffer.allocUnsafe(at);
  scratch.copy(row, 0, 0, at);
  sealRow(row);
  return row;
}

/** Flat pairs (block, revision) of an index row; undefined when it is damaged. */
export function decodePairs(row: Buffer | undefined): number[] | undefined {
  const value = checkedValue(row);
  if (!value) return undefined;
  const pairs: number[] = [];
  let number = 0;
  let scale = 1;
  for (const byte of value) {
    number += (byte & 127) * scale;
    scale *= 128;
    if (byte > 127) continue;
    pairs.push(number + (pairs.length < 2 ? 0 : pairs[pairs.length - 2]!));
    number = 0;
    scale = 1;
  }
  return scale === 1 && pairs.length % 2 === 0 ? pairs : undefined;
}
