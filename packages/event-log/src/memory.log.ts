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
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { AppendLedger, type KnownEvent, type SearchResult } from './append-ledger.ts';
import { assertAppend, completeMeta } from './append-request.ts';
import { deepFreeze } from './deep-freeze.ts';
import { compileFilter } from './filter.ts';
import { MemorySnapshots } from './memory-snapshots.ts';
import { type Bounds, boundsOf, isStreamRange } from './range.ts';
import { subscribeTo } from './subscription.ts';
import { LogTail } from './tail.ts';

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
  readonly #events: RecordedEvent[] = [];
  readonly #streams = new Map<string, RecordedEvent[]>();
  readonly #ledger: AppendLedger;
  readonly #tail = new LogTail(-1);

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
      const events = this.#streams.get(range.stream) ?? [];
      return this.#slices(events, boundsOf(range, events.length - 1));
    }
    return this.#slices(this.#events, boundsOf(range, this.head()), range.filter);
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    return subscribeTo({ tail: this.#tail, read: (range) => this.read(range) }, from, filter, backpressure);
  }

  head(): number {
    return this.#events.length - 1;
  }

  async revision(stream: string): Promise<number> {
    this.#assertOpen();
    return this.#ledger.revision(stream);
  }

  async verify(onProgress?: (positions: number) => void): Promise<LogReport> {
    const damages: LogDamage[] = [];
    const revisions = new Map<string, number>();
    for (const [position, event] of this.#events.entries()) {
      const revision = (revisions.get(event.stream) ?? -1) + 1;
      revisions.set(event.stream, revision);
      if (event.position === position && event.revision === revision) continue;
      if (damages.length < 100) damages.push({ position, reason: `expected revision ${revision} of ${event.stream}` });
    }
    onProgress?.(this.#events.length);
    const { length } = this.#events;
    return { ok: damages.length === 0, events: length, streams: revisions.size, head: length - 1, damages };
  }

  /** Completes the subscriptions. Everything but `head` throws LOG_CLOSED from then on. */
  close(): void {
    this.#tail.close();
  }

  #write(stream: string, events: readonly NewEvent[]): AppendResult {
    const ofStream = this.#eventsOf(stream);
    const first = this.#events.length;
    const now = this.#clock.now();
    const recorded = events.map((event, index): RecordedEvent => {
      const made: RecordedEvent = {
        position: first + index,
        stream,
        revision: ofStream.length + index,
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
    return { first, last: this.#events.length - 1, revision: ofStream.length - 1, duplicate: false };
  }

  #eventsOf(stream: string): RecordedEvent[] {
    let events = this.#streams.get(stream);
    if (!events) {
      events = [];
      this.#streams.set(stream, events);
    }
    return events;
  }

  #search(stream: string, ids: readonly string[]): SearchResult {
    const wanted = new Set(ids);
    const found = new Map<string, KnownEvent>();
    const events = this.#streams.get(stream) ?? [];
    for (let index = events.length - 1; index >= 0 && found.size < wanted.size; index--) {
      const event = events[index]!;
      if (wanted.has(event.id)) found.set(event.id, event);
    }
    return found;
  }

  async *#slices(
    events: readonly RecordedEvent[],
    { first, last, backwards, limit }: Bounds,
    filter?: Filter,
  ): AsyncGenerator<readonly RecordedEvent[]> {
    const wanted = compileFilter(filter);
    let left = limit;
    let low = first;
    let high = last;
    while (low <= high && left > 0) {
      this.#assertOpen();
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

  #assertOpen(): void {
    if (this.#tail.closed) throw new CloudosError('LOG_CLOSED', 'the log in memory was closed');
  }
}
