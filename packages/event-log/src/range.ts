import { CloudosError, type GlobalRange, type StreamRange } from '@cloudos/sdk';

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
 * (default the last) and `to` where to end (default the first that is kept).
 * @param kept the first one that is kept
 * @throws CloudosError LOG_TRIMMED when the range asks for what is not kept any more
 */
export function boundsOf(range: StreamRange | GlobalRange, last: number, kept: number): Bounds {
  const backwards = range.direction === 'backwards';
  const to = isStreamRange(range) ? undefined : range.to;
  const limit = range.limit ?? Number.POSITIVE_INFINITY;
  const [low, high] = backwards ? [to, range.from] : [range.from, to];
  const first = low === undefined ? kept : Math.max(0, low);
  // Backwards from before the first event that is kept, nothing that was asked for is there.
  const asked = low ?? (backwards && high !== undefined ? high : kept);
  if (Math.max(0, asked) < kept)
    throw trimmed(Math.max(0, asked), kept, isStreamRange(range) ? range.stream : undefined);
  return { first, last: Math.min(last, high ?? last), backwards, limit };
}

/** The error for events that are not kept any more. */
export function trimmed(position: number, first: number, stream?: string): CloudosError {
  const [what, where] = stream === undefined ? ['position', 'of the log'] : ['revision', `of stream ${stream}`];
  return new CloudosError(
    'LOG_TRIMMED',
    `${what} ${position} was asked for, the first ${where} that is kept is ${first}`,
    {
      details: { [what]: position, first, ...(stream !== undefined && { stream }) },
    },
  );
}
