import type { RecordedEvent } from '@cloudos/sdk';

/** How many of the last events a log keeps in memory for subscribers that are behind (at most one batch more). */
export const tailEventsMax = 8192;

/** How far a subscriber is. */
export interface TailReader {
  /** The first position that it has not had yet. */
  readonly next: number;
}

/**
 * The last events of a log, shared by all of its subscribers, and the news that there are more. It lets go of what every
 * subscriber has had: events that live on are what collecting young objects costs. What it holds is bounded by
 * {@link tailEventsMax}, however slow the subscribers: they read what has left it from the log.
 */
export class LogTail {
  #batches: (readonly RecordedEvent[])[] = [];
  #kept = 0;
  #head: number;
  #closed = false;
  readonly #keep: number;
  readonly #readers = new Set<TailReader>();
  #waiting = new Set<() => void>();
  readonly #closing = new Set<() => void>();

  constructor(head: number, keep: number = tailEventsMax) {
    this.#head = head;
    this.#keep = keep;
  }

  /** Position of the last event that subscribers may see. */
  get head(): number {
    return this.#head;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Takes the next events, in order and without gap. Never empty. The array must not change any more. */
  publish(events: readonly RecordedEvent[]): void {
    this.#dropTaken();
    this.#batches.push(events);
    this.#kept += events.length;
    this.#head = events[events.length - 1]!.position;
    while (this.#batches.length > 1 && this.#kept - this.#batches[0]!.length >= this.#keep) {
      this.#kept -= this.#batches.shift()!.length;
    }
    this.#wake();
  }

  /** For a log that others write: there are events up to that position, to be read from the log. */
  advance(head: number): void {
    if (head <= this.#head) return;
    this.#batches = [];
    this.#kept = 0;
    this.#head = head;
    this.#wake();
  }

  /** From now on events that this one has not had are kept, within the bound. Returns how to end that. */
  follow(reader: TailReader): () => void {
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  }

  /** Events from that position, at most `max`: undefined when they have to be read from the log. */
  since(position: number, max: number): readonly RecordedEvent[] | undefined {
    for (let index = this.#batches.length - 1; index >= 0; index--) {
      const batch = this.#batches[index]!;
      const first = batch[0]!.position;
      if (position < first) continue;
      if (position === first && batch.length <= max) return batch;
      return batch.slice(position - first, position - first + max);
    }
    return undefined;
  }

  /** Calls back once, at the next publish or close. Returns how to cancel it. */
  onNext(callback: () => void): () => void {
    this.#waiting.add(callback);
    return () => this.#waiting.delete(callback);
  }

  /** Calls back when the log closes. Returns how to cancel it. */
  onClose(callback: () => void): () => void {
    this.#closing.add(callback);
    return () => this.#closing.delete(callback);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake();
    for (const callback of [...this.#closing]) callback();
    this.#closing.clear();
  }

  #dropTaken(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const reader of this.#readers) if (reader.next < next) next = reader.next;
    let taken = 0;
    while (taken < this.#batches.length && this.#batches[taken]!.at(-1)!.position < next) {
      this.#kept -= this.#batches[taken]!.length;
      taken++;
    }
    if (taken > 0) this.#batches.splice(0, taken);
  }

  #wake(): void {
    if (this.#waiting.size === 0) return;
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const callback of waiting) callback();
  }
}
