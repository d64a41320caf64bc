import {
  boundsOf,
  compileFilter,
  SegmentSeeker,
  type SummarySource,
  segmentOf,
  segmentPositions,
  trimmed,
} from '@cloudos/event-log';
import { type GlobalRange, type RecordedEvent, readBatchMax } from '@cloudos/sdk';
import type { BlockLog } from './block-log.ts';

/** How many positions a summary that is looked at counts for, against those of a block that is decoded. */
const summaryCost = 64;

/** Gives other work a turn between batches. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Reads a range of positions, in batches; passes over segments that hold nothing of what the filter selects. */
export async function* readGlobal(
  log: BlockLog,
  range: GlobalRange,
  head: number,
): AsyncGenerator<readonly RecordedEvent[]> {
  const { first, last, backwards, limit } = boundsOf(range, head, log.first);
  const wanted = compileFilter(range.filter);
  const source = new ReadSource(log, first, last);
  const seeker = wanted && SegmentSeeker.of(range.filter, source);
  let left = limit;
  let low = first;
  let high = last;
  let batch: RecordedEvent[] = [];
  while (low <= high && left > 0) {
    log.assertOpen();
    if (low < log.first) throw trimmed(low, log.first);
    const at = seeker ? (backwards ? seeker.previous(high) : seeker.next(low)) : backwards ? high : low;
    if (backwards) high = at ?? segmentOf(high) * segmentPositions - 1;
    else low = at ?? (segmentOf(low) + 1) * segmentPositions;
    if (at !== undefined && low <= high) {
      let events = source.eventsAround(at);
      const start = events[0]!.position;
      const next = start + events.length;
      if (start < low || next - 1 > high) events = events.slice(Math.max(0, low - start), high - start + 1);
      if (backwards) {
        events.reverse();
        high = start - 1;
      } else low = next;
      for (const event of wanted ? events.filter(wanted) : events) {
        if (left-- <= 0) break;
        batch.push(event);
      }
    }
    if (batch.length > readBatchMax - 64 || source.cost >= readBatchMax || low > high || left <= 0) {
      const full = batch;
      batch = [];
      source.cost = 0;
      if (full.length > 0) yield full;
      await turn();
    }
  }
}

/** What one read draws from: blocks, and summaries where it comes through most of a segment. */
class ReadSource implements SummarySource {
  readonly #log: BlockLog;
  readonly #first: number;
  readonly #last: number;
  /** Of the segment whose summary was made last. */
  #made: { readonly begin: number; readonly events: readonly RecordedEvent[] } | undefined;
  /** Positions looked at since it was set to 0. */
  cost = 0;

  constructor(log: BlockLog, first: number, last: number) {
    this.#log = log;
    this.#first = first;
    this.#last = last;
  }

  streams(): Iterable<string> {
    return this.#log.ledger.heads().keys();
  }

  summary(segment: number): Buffer | undefined {
    const { summaries } = this.#log;
    if (!summaries.isWhole(segment)) return undefined;
    this.cost += summaryCost;
    const stored = summaries.stored(segment);
    if (stored) return stored;
    const begin = segment * segmentPositions;
    const end = begin + segmentPositions;
    // For a few positions it is not worth the making.
    if (Math.min(end, this.#last + 1) - Math.max(begin, this.#first) < segmentPositions / 2) return undefined;
    const events = this.#log.eventsBetween(begin, end);
    this.cost += segmentPositions;
    this.#made = { begin, events };
    return summaries.make(segment, events);
  }

  /** Events around a position, in order, none of them missing. They belong to the caller. */
  eventsAround(position: number): RecordedEvent[] {
    const made = this.#made;
    if (made && position >= made.begin && position < made.begin + segmentPositions) {
      const from = position - made.begin - ((position - made.begin) % 64);
      return made.events.slice(from, from + 64);
    }
    const events = this.#log.eventsAround(position);
    this.cost += events.length;
    return events;
  }
}
