import type { RecordedEvent, StoredEvents } from '@cloudos/sdk';
import { type EncodingName, isBatched, rowsMessages, storedMessages } from './encoding.ts';
import type { FeedBatch } from './feed-batch.ts';
import type { FeedFilter } from './feed-filter.ts';
import type { FeedSubscriber } from './feed-subscriber.ts';
import type { ChunksByPosition } from './past-chunks.ts';

/** Consecutive positions, ready to be written: the events among them that a filter selects, in one encoding. */
export interface Chunk {
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly bytes: Buffer;
  /** Length of the structures that its stored batches refer to; 0 when there are none. */
  readonly structures: number;
}

/** Bytes of one chunk, unless a single event has more. */
export const chunkMaxBytes = 256 * 1024;

/**
 * Subscribers that want the same events in the same form. What is appended is made ready once for all of them, and the
 * last of it is kept for those that are a little behind.
 */
export class FeedGroup {
  readonly key: string;
  readonly filter: FeedFilter;
  readonly encoding: EncodingName;
  /** Where batches can be passed on as they are stored. */
  readonly stored: StoredEvents | undefined;
  /** Whether its subscribers take stored batches, once their filter lets whole ones through. */
  readonly takesStored: boolean;
  readonly members = new Set<FeedSubscriber>();
  /** Those that have everything there is: they get each chunk as it is made. */
  readonly level = new Set<FeedSubscriber>();
  /** What was read of the log for one of them. */
  readonly past: ChunksByPosition = new Map();
  /** Reads of the log for them that are under way, by where they begin. None of these promises rejects. */
  readonly reads = new Map<number, Promise<void>>();
  /** How many positions a read of the log takes, to come to about one turn. A power of two. */
  span = spanPositionsBegin;
  #recent: Chunk[] = [];
  #recentBytes = 0;

  constructor(key: string, filter: FeedFilter, encoding: EncodingName, stored: StoredEvents | undefined) {
    this.key = key;
    this.filter = filter;
    this.encoding = encoding;
    this.takesStored = stored !== undefined;
    this.stored = isBatched(encoding) && filter.matches === undefined ? stored : undefined;
  }

  /** Whether anybody could be sent anything now. What is made ready for nobody is read from the log later. */
  get isWanted(): boolean {
    for (const member of this.members) if (member.isReady) return true;
    return false;
  }

  /** Makes chunks of what was appended. Positions of a batch in which nothing matches make none. */
  take(batch: FeedBatch, keepBytes: number): readonly Chunk[] {
    const chunks = this.#chunks(batch);
    for (const chunk of chunks) {
      this.#recent.push(chunk);
      this.#recentBytes += chunk.bytes.length;
    }
    while (this.#recent.length > 1 && (this.#recentBytes > keepBytes || this.#recent.length > recentChunksMax)) {
      this.#recentBytes -= (this.#recent.shift() as Chunk).bytes.length;
    }
    return chunks;
  }

  /** The chunk that begins at a position, if it is still kept. */
  chunkAt(position: number): Chunk | undefined {
    return this.#recentAt(position) ?? this.past.get(position);
  }

  #recentAt(position: number): Chunk | undefined {
    let low = 0;
    let high = this.#recent.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const chunk = this.#recent[middle] as Chunk;
      if (chunk.first === position) return chunk;
      if (chunk.first < position) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  #chunks(batch: FeedBatch): readonly Chunk[] {
    if (this.stored) return storedChunks(this.stored, this.encoding, batch.first, batch.last);
    const { matches } = this.filter;
    const { events } = batch;
    let selected: number[] | undefined;
    if (matches) {
      selected = [];
      for (let index = 0; index < events.length; index++) {
        if (matches(events[index] as RecordedEvent)) selected.push(index);
      }
      if (selected.length === 0) return [];
      if (selected.length === events.length) selected = undefined;
    }
    return isBatched(this.encoding)
      ? rowsChunks(this.encoding, selected?.map((index) => events[index] as RecordedEvent) ?? events, batch)
      : batch.chunks(this.encoding, selected);
  }
}

/** A whole segment of a log that has summaries. */
const spanPositionsBegin = 4096;

/** How many chunks a group keeps at most. */
export const recentChunksMax = 4096;

export function storedChunks(
  stored: StoredEvents,
  encoding: EncodingName,
  first: number,
  last: number,
  chunksMax = Number.POSITIVE_INFINITY,
): Chunk[] {
  const chunks: Chunk[] = [];
  for (let from = first; from <= last && chunks.length < chunksMax; ) {
    const batches = stored.read(from, last, chunkMaxBytes);
    const end = batches.at(-1);
    if (!end) break;
    const to = end.first + end.count - 1;
    const bytes = storedMessages(encoding, batches, from);
    chunks.push({ first: from, last: to, count: to - from + 1, bytes, structures: stored.structures().length });
    from = to + 1;
  }
  return chunks;
}

/** Events of one chunk of rows. */
const rowsMax = 1024;

export function rowsChunks(
  encoding: EncodingName,
  events: readonly RecordedEvent[],
  batch: { readonly first: number; readonly last: number },
): Chunk[] {
  const chunks: Chunk[] = [];
  let { first } = batch;
  for (let at = 0; at < events.length; at += rowsMax) {
    const part = events.slice(at, at + rowsMax);
    const last = at + rowsMax >= events.length ? batch.last : (part.at(-1) as RecordedEvent).position;
    chunks.push({ first, last, count: part.length, bytes: rowsMessages(encoding, part, last), structures: 0 });
    first = last + 1;
  }
  return chunks;
}
