import type { GlobalRange, StreamRange } from '@cloudos/sdk';

/** A range with every default written out. `first > last` where it is empty. */
export interface Bounds {
  readonly first: number;
  readonly last: number;
  readonly backwards: boolean;
  readonly limit: number;
}

export function isStreamRange(range: StreamRange | GlobalRange): range is StreamRange {
  return 'stream' in range;
}

/**
 * Revisions or positions that a range asks for, up to the last one there is. Backwards, `from` is where to begin
 * (default the last) and `to` where to end (default 0).
 */
export function boundsOf(range: StreamRange | GlobalRange, last: number): Bounds {
  const backwards = range.direction === 'backwards';
  const to = isStreamRange(range) ? undefined : range.to;
  const limit = range.limit ?? Number.POSITIVE_INFINITY;
  return backwards
    ? { first: Math.max(0, to ?? 0), last: Math.min(last, range.from ?? last), backwards, limit }
    : { first: Math.max(0, range.from ?? 0), last: Math.min(last, to ?? last), backwards, limit };
}
