import { compileNames, type EventKey, type Filter, partsOfKey } from '@cloudos/sdk';
import {
  allBuckets,
  type BucketMask,
  bucketOf,
  bucketPositions,
  bucketsOfHashes,
  bucketsOfTypes,
  hashOfKey,
  noBucket,
  segmentOf,
  segmentPositions,
} from './segment-summary.ts';

/** A filter by patterns of streams asks for no more names than that; with more it is not looked up. */
export const streamNamesMax = 4096;

/** Where summaries come from. */
export interface SummarySource {
  /**
   * The summary of a segment, made now where there is none yet.
   * @returns undefined where that cannot be: the segment has not ended, or its beginning is not kept any more
   */
  summary(segment: number): Buffer | undefined;
  /** Names of all streams that a log has events of. */
  streams(): Iterable<string>;
}

/**
 * Passes over what a filter cannot match. Of the segments that have a summary it names the buckets that may hold a
 * matching event; what has none is to be looked at.
 */
export class SegmentSeeker {
  readonly #source: SummarySource;
  readonly #types: ((type: string) => boolean) | undefined;
  /** Each must hold. */
  readonly #keys: readonly KeyCondition[];
  #segment = -1;
  #buckets: BucketMask = allBuckets;

  private constructor(
    source: SummarySource,
    types: ((type: string) => boolean) | undefined,
    keys: readonly KeyCondition[],
  ) {
    this.#source = source;
    this.#types = types;
    this.#keys = keys;
  }

  /** Undefined where summaries tell nothing about the filter. */
  static of(filter: Filter | undefined, source: SummarySource): SegmentSeeker | undefined {
    const types = compileNames(filter?.types);
    const keys = [streamsCondition(filter?.streams, source), keysCondition(filter?.keys)].filter(
      (each) => each !== undefined,
    );
    if (!types && keys.length === 0) return undefined;
    return new SegmentSeeker(source, types, keys);
  }

  /** The first position at or after one, in the segment of that one, that may match. Undefined where none does. */
  next(position: number): number | undefined {
    const segment = segmentOf(position);
    this.#enter(segment);
    const begin = segment * segmentPositions;
    for (let bucket = bucketOf(position); bucket < segmentPositions / bucketPositions; bucket++) {
      if (has(this.#buckets, bucket)) return Math.max(position, begin + bucket * bucketPositions);
    }
    return undefined;
  }

  /** The last position at or before one, in the segment of that one, that may match. Undefined where none does. */
  previous(position: number): number | undefined {
    const segment = segmentOf(position);
    this.#enter(segment);
    const begin = segment * segmentPositions;
    for (let bucket = bucketOf(position); bucket >= 0; bucket--) {
      if (has(this.#buckets, bucket)) return Math.min(position, begin + (bucket + 1) * bucketPositions - 1);
    }
    return undefined;
  }

  #enter(segment: number): void {
    if (segment === this.#segment) return;
    this.#segment = segment;
    const summary = this.#source.summary(segment);
    if (!summary) {
      this.#buckets = allBuckets;
      return;
    }
    let buckets = this.#types ? bucketsOfTypes(summary, this.#types) : allBuckets;
    for (const { hashes, among, positions } of this.#keys) {
      if (buckets.low === 0 && buckets.high === 0) break;
      buckets = both(buckets, either(bucketsOfHashes(summary, hashes, among), bucketsAt(positions, segment)));
    }
    this.#buckets = buckets;
  }
}

/** One of these must be met. */
interface KeyCondition {
  readonly hashes: Uint32Array;
  readonly among: ReadonlySet<number>;
  readonly positions: readonly number[];
}

function keysCondition(keys: readonly EventKey[] | undefined): KeyCondition | undefined {
  if (!keys || keys.length === 0) return undefined;
  const parts = keys.map(partsOfKey);
  const positions = parts.filter(({ kind }) => kind === 'position').map(({ value }) => Number(value));
  const hashes = parts.filter(({ kind }) => kind !== 'position').map(({ kind, value }) => hashOfKey(kind, value));
  return conditionOf(hashes, positions);
}

function streamsCondition(patterns: readonly string[] | undefined, source: SummarySource): KeyCondition | undefined {
  const matches = compileNames(patterns);
  if (!patterns || !matches) return undefined;
  const names = patterns.some((pattern) => pattern.endsWith('*')) ? matching(source.streams(), matches) : patterns;
  return (
    names &&
    conditionOf(
      names.map((name) => hashOfKey('stream', name)),
      [],
    )
  );
}

function matching(names: Iterable<string>, matches: (name: string) => boolean): string[] | undefined {
  const found: string[] = [];
  for (const name of names) {
    if (!matches(name)) continue;
    if (found.length >= streamNamesMax) return undefined;
    found.push(name);
  }
  return found;
}

function conditionOf(hashes: readonly number[], positions: readonly number[]): KeyCondition {
  return { hashes: Uint32Array.from(hashes).sort(), among: new Set(hashes), positions };
}

function bucketsAt(positions: readonly number[], segment: number): BucketMask {
  let buckets = noBucket;
  for (const position of positions) {
    if (segmentOf(position) !== segment) continue;
    const bucket = bucketOf(position);
    buckets = either(buckets, bucket < 32 ? { low: 1 << bucket, high: 0 } : { low: 0, high: 1 << (bucket - 32) });
  }
  return buckets;
}

function has({ low, high }: BucketMask, bucket: number): boolean {
  return ((bucket < 32 ? low >>> bucket : high >>> (bucket - 32)) & 1) === 1;
}

function either(a: BucketMask, b: BucketMask): BucketMask {
  return { low: a.low | b.low, high: a.high | b.high };
}

function both(a: BucketMask, b: BucketMask): BucketMask {
  return { low: a.low & b.low, high: a.high & b.high };
}
