import type { RecordedEvent } from '@cloudos/sdk';

/** What is kept of a log or of one stream, addressed by position or by revision. */
export class KeptEvents {
  #first = 0;
  readonly #events: RecordedEvent[] = [];

  /** The first position or revision that is kept. */
  get first(): number {
    return this.#first;
  }

  /** The last one, -1 when there never was an event. */
  get last(): number {
    return this.#first + this.#events.length - 1;
  }

  get length(): number {
    return this.#events.length;
  }

  at(number: number): RecordedEvent | undefined {
    return this.#events[number - this.#first];
  }

  /** @param to exclusive */
  slice(from: number, to: number): RecordedEvent[] {
    return this.#events.slice(from - this.#first, to - this.#first);
  }

  push(event: RecordedEvent): void {
    this.#events.push(event);
  }

  /** Keeps all but the first few. */
  drop(count: number): void {
    this.#events.splice(0, count);
    this.#first += count;
  }

  [Symbol.iterator](): IterableIterator<RecordedEvent> {
    return this.#events[Symbol.iterator]();
  }
}
