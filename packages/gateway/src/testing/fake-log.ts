import type { Backpressure, EventLog, EventMeta, Filter, GlobalRange, RecordedEvent, StreamRange } from '@cloudos/sdk';
import { CloudosError, compileKeys, compileNames, newId } from '@cloudos/sdk';
import { Observable } from 'rxjs';

const batchMax = 256;

/** What a fake kernel records: the rest of an event is filled in. */
export interface FakeEvent {
  readonly stream: string;
  readonly type: string;
  readonly data?: unknown;
  readonly time?: number;
  readonly meta?: Partial<EventMeta>;
}

/** A log in memory for tests of what reads one: no checks, no durability. Honours filters, ranges and back-pressure. */
export class FakeLog implements Pick<EventLog, 'read' | 'subscribe' | 'head' | 'first'> {
  readonly events: RecordedEvent[] = [];
  /** Subscriptions that are open. For leak tests. */
  subscriptions = 0;
  /** Batches delivered to subscribers. */
  delivered = 0;
  #revisions = new Map<string, number>();
  #wake = new Set<() => void>();
  #closed = false;
  #first = 0;

  head(): number {
    return this.events.length - 1;
  }

  record(...events: readonly FakeEvent[]): { first: number; last: number } {
    const first = this.events.length;
    for (const { stream, type, data, time, meta } of events) {
      const revision = (this.#revisions.get(stream) ?? -1) + 1;
      this.#revisions.set(stream, revision);
      const position = this.events.length;
      this.events.push({
        position,
        stream,
        revision,
        id: newId(),
        type,
        time: time ?? Date.now(),
        data: data ?? {},
        meta: { producer: { plugin: 'fake', generation: 1 }, schema: 1, ...meta },
      });
    }
    for (const wake of [...this.#wake]) wake();
    return { first, last: this.events.length - 1 };
  }

  first(): number {
    return this.#first;
  }

  /** Forgets what is before that position, as retention does. */
  trim(before: number): void {
    this.#first = before;
  }

  revisionOf(stream: string): number {
    return this.#revisions.get(stream) ?? -1;
  }

  #trimmed(from: number): CloudosError {
    const details = { from, first: this.#first };
    return new CloudosError('LOG_TRIMMED', `position ${from} is not kept, the first is ${this.#first}`, { details });
  }

  close(): void {
    this.#closed = true;
    for (const wake of [...this.#wake]) wake();
  }

  async *read(range: StreamRange | GlobalRange): AsyncGenerator<readonly RecordedEvent[]> {
    const backwards = range.direction === 'backwards';
    if (!backwards && range.from !== undefined && range.from < this.#first) throw this.#trimmed(range.from);
    // A stream is read by revision, the log by position.
    const stream = 'stream' in range ? range.stream : undefined;
    const to = 'to' in range ? range.to : undefined;
    const filter = 'filter' in range ? range.filter : undefined;
    const from = range.from ?? (backwards ? this.events.length - 1 : stream === undefined ? this.#first : 0);
    const kept = this.events.slice(this.#first).filter((event) => stream === undefined || event.stream === stream);
    const inside = kept.filter((event) => {
      const at = stream === undefined ? event.position : event.revision;
      return backwards ? at <= from && at >= (to ?? 0) : at >= from && at <= (to ?? Infinity);
    });
    const found = inside.filter((event) => matches(event, filter));
    if (backwards) found.reverse();
    const wanted = found.slice(0, range.limit ?? found.length);
    for (let at = 0; at < wanted.length; at += batchMax) yield wanted.slice(at, at + batchMax);
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    return new Observable((subscriber) => {
      this.subscriptions++;
      let next = from;
      let busy = false;
      const pump = async (): Promise<void> => {
        if (busy) return;
        busy = true;
        while (!subscriber.closed && next < this.events.length) {
          const slice = this.events.slice(next, next + batchMax);
          next += slice.length;
          const batch = slice.filter((event) => matches(event, filter));
          if (batch.length === 0) continue;
          this.delivered++;
          subscriber.next(batch);
          await backpressure?.ready();
        }
        busy = false;
        if (this.#closed) subscriber.complete();
      };
      const wake = () => void pump();
      this.#wake.add(wake);
      wake();
      return () => {
        this.subscriptions--;
        this.#wake.delete(wake);
      };
    });
  }
}

function matches(event: RecordedEvent, filter: Filter | undefined): boolean {
  const [types, streams] = [compileNames(filter?.types), compileNames(filter?.streams)];
  const keys = compileKeys(filter?.keys);
  return (types?.(event.type) ?? true) && (streams?.(event.stream) ?? true) && (keys?.(event) ?? true);
}
