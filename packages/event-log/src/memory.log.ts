import {
  type AppendResult,
  type Backpressure,
  type Clock,
  CloudosError,
  type ExpectedRevision,
  type Filter,
  type GlobalRange,
  type IdSource,
  type LogDamage,
  type LogProvider,
  type LogReport,
  type NewEvent,
  newId,
  type RecordedEvent,
  readBatchMax,
  type StreamRange,
  systemClock,
  type TrimResult,
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { AppendLedger, type KnownEvent, type SearchResult } from './append-ledger.ts';
import { assertAppend, completeMeta } from './append-request.ts';
import { deepFreeze } from './deep-freeze.ts';
import { compileFilter } from './filter.ts';
import { KeptEvents } from './kept-events.ts';
import { MemorySnapshots } from './memory-snapshots.ts';
import { type Bounds, boundsOf, isStreamRange, trimmed } from './range.ts';
import { SegmentSeeker } from './segment-seeker.ts';
import { segmentOf, segmentPositions, summarize } from './segment-summary.ts';
import { subscribeTo } from './subscription.ts';
import { LogTail } from './tail.ts';
import { assertTrim } from './trim-rule.ts';

export interface MemoryEventLogOptions {
  readonly clock?: Clock;
  readonly newId?: IdSource;
  /** Freezes every event and its data, so that whoever changes one throws. For tests: it costs time. */
  readonly freeze?: boolean;
  /** Size of the window of recent ids, a power of two. For tests. */
  readonly idWindow?: number;
}

/**
 * A log in memory. Holds every event that was appended, as the object it was appended as; nothing survives the process.
 * Deterministic: the same calls with the same clock and ids give the same log, in microtasks alone.
 */
export class MemoryEventLog implements LogProvider {
  readonly snapshots = new MemorySnapshots();
  readonly #clock: Clock;
  readonly #newId: IdSource;
  readonly #freeze: boolean;
  readonly #events = new KeptEvents();
  readonly #streams = new Map<string, KeptEvents>();
  readonly #ledger: AppendLedger;
  readonly #tail = new LogTail(-1);
  /** Of segments that were read with a filter. */
  readonly #summaries = new Map<number, Buffer>();

  constructor(options: MemoryEventLogOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#newId = options.newId ?? newId;
    this.#freeze = options.freeze ?? false;
    this.#ledger = new AppendLedger(new Map(), undefined, options.idWindow);
  }

  async append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult> {
    this.#assertOpen();
    assertAppend(stream, events, at);
    let verdict = this.#ledger.check(stream, events, at);
    if (verdict.kind === 'search') {
      verdict = this.#ledger.check(stream, events, at, this.#search(stream, verdict.ids));
    }
    if (verdict.kind === 'duplicate') return verdict.result;
    return this.#write(stream, events);
  }

  read(range: StreamRange | GlobalRange): AsyncIterable<readonly RecordedEvent[]> {
    this.#assertOpen();
    if (isStreamRange(range)) {
      const kept = this.#streams.get(range.stream) ?? new KeptEvents();
      return this.#slices(kept, boundsOf(range, kept.last, kept.first), undefined, range.stream);
    }
    return this.#slices(this.#events, boundsOf(range, this.head(), this.first()), range.filter);
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    const source = { tail: this.#tail, first: () => this.first(), read: (range: GlobalRange) => this.read(range) };
    return subscribeTo(source, from, filter, backpressure);
  }

  head(): number {
    return this.#events.last;
  }

  first(): number {
    return this.#events.first;
  }

  async revision(stream: string): Promise<number> {
    this.#assertOpen();
    return this.#ledger.revision(stream);
  }

  async verify(onProgress?: (positions: number) => void): Promise<LogReport> {
    const damages: LogDamage[] = [];
    const { first, length } = this.#events;
    let position = first;
    for (const event of this.#events) {
      const sound = event.position === position && this.#streams.get(event.stream)?.at(event.revision) === event;
      if (!sound && damages.length < 100) damages.push({ position, reason: 'the event is not what was appended' });
      position++;
    }
    onProgress?.(position);
    const streams = this.#streams.size;
    return { ok: damages.length === 0, events: length, first, streams, head: this.head(), damages };
  }

  async trim(before: number): Promise<TrimResult> {
    this.#assertOpen();
    assertTrim(before, await this.snapshots.list());
    const first = this.first();
    const removed = Math.max(0, Math.min(before, this.head()) - first);
    const ofStream = new Map<KeptEvents, number>();
    for (const { stream } of this.#events.slice(first, first + removed)) {
      const kept = this.#eventsOf(stream);
      ofStream.set(kept, (ofStream.get(kept) ?? 0) + 1);
    }
    for (const [kept, count] of ofStream) kept.drop(count);
    this.#events.drop(removed);
    for (const segment of this.#summaries.keys())
      if (segment < segmentOf(this.first())) this.#summaries.delete(segment);
    return { first: first + removed, removed };
  }

  /** Completes the subscriptions. Everything but `head` throws LOG_CLOSED from then on. */
  close(): void {
    this.#tail.close();
  }

  #write(stream: string, events: readonly NewEvent[]): AppendResult {
    const ofStream = this.#eventsOf(stream);
    const first = this.head() + 1;
    const revision = ofStream.last + 1;
    const now = this.#clock.now();
    const recorded = events.map((event, index): RecordedEvent => {
      const made: RecordedEvent = {
        position: first + index,
        stream,
        revision: revision + index,
        id: event.id ?? this.#newId(),
        type: event.type,
        time: event.time ?? now,
        data: event.data,
        meta: completeMeta(event.meta),
      };
      return this.#freeze ? deepFreeze(made) : made;
    });
    for (const event of recorded) {
      this.#events.push(event);
      ofStream.push(event);
      this.#ledger.add(event.id, stream, event.revision, event.position);
    }
    this.#tail.publish(recorded);
    return { first, last: this.head(), revision: ofStream.last, duplicate: false };
  }

  #eventsOf(stream: string): KeptEvents {
    let events = this.#streams.get(stream);
    if (!events) {
      events = new KeptEvents();
      this.#streams.set(stream, events);
    }
    return events;
  }

  #search(stream: string, ids: readonly string[]): SearchResult {
    const wanted = new Set(ids);
    const found = new Map<string, KnownEvent>();
    const events = this.#streams.get(stream) ?? new KeptEvents();
    for (let revision = events.last; revision >= events.first && found.size < wanted.size; revision--) {
      const event = events.at(revision)!;
      if (wanted.has(event.id)) found.set(event.id, event);
    }
    return found;
  }

  async *#slices(
    events: KeptEvents,
    { first, last, backwards, limit }: Bounds,
    filter?: Filter,
    stream?: string,
  ): AsyncGenerator<readonly RecordedEvent[]> {
    const wanted = compileFilter(filter);
    const seeker = SegmentSeeker.of(filter, { summary: (n) => this.#summary(n), streams: () => this.#streams.keys() });
    let left = limit;
    let low = first;
    let high = last;
    while (low <= high && left > 0) {
      this.#assertOpen();
      if (low < events.first) throw trimmed(low, events.first, stream);
      if (seeker) {
        const at = backwards ? seeker.previous(high) : seeker.next(low);
        if (backwards) high = at ?? segmentOf(high) * segmentPositions - 1;
        else low = at ?? (segmentOf(low) + 1) * segmentPositions;
        if (at === undefined || low > high) continue;
      }
      const size = Math.min(readBatchMax, high - low + 1);
      const slice = backwards ? events.slice(high - size + 1, high + 1).reverse() : events.slice(low, low + size);
      if (backwards) high -= size;
      else low += size;
      const matching = wanted ? slice.filter(wanted) : slice;
      const batch = matching.length > left ? matching.slice(0, left) : matching;
      left -= batch.length;
      if (batch.length > 0) yield batch;
    }
  }

  #summary(segment: number): Buffer | undefined {
    const begin = segment * segmentPositions;
    if (begin < this.first() || begin + segmentPositions > this.head() + 1) return undefined;
    let summary = this.#summaries.get(segment);
    if (!summary) {
      summary = summarize(this.#events.slice(begin, begin + segmentPositions));
      this.#summaries.set(segment, summary);
    }
    return summary;
  }

  #assertOpen(): void {
    if (this.#tail.closed) throw new CloudosError('LOG_CLOSED', 'the log in memory was closed');
  }
}
