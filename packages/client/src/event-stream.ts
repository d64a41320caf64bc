import type { RecordedEvent } from '@cloudos/sdk';
import { Observable } from 'rxjs';
import { EventFeed, type FeedOptions, type FeedSource } from './event-feed.ts';

export interface EventStreamOptions extends FeedOptions {
  /**
   * How many events an async iterator keeps for a slow loop. When it is full the connection is given up and taken up
   * again at the same position once half of it was consumed: the log is the buffer. Default 10,000.
   */
  readonly bufferMax?: number;
}

const bufferMaxDefault = 10_000;

/**
 * Events of a running kernel, as an Observable and as an async iterator. Cold: each subscription and each loop has a
 * connection of its own, resumes by itself, and delivers every matching event once and in order.
 *
 * Fails with UNAUTHENTICATED, POSITION_OUT_OF_RANGE or KERNEL_UNREACHABLE (retries exhausted).
 */
export class EventStream extends Observable<RecordedEvent> implements AsyncIterable<RecordedEvent> {
  readonly #source: FeedSource;
  readonly #options: EventStreamOptions;

  constructor(source: FeedSource, options: EventStreamOptions) {
    super((subscriber) => {
      const feed = new EventFeed(source, options, {
        event: (event) => subscriber.next(event),
        error: (error) => subscriber.error(error),
      });
      feed.start();
      return () => feed.stop();
    });
    this.#source = source;
    this.#options = options;
  }

  [Symbol.asyncIterator](): AsyncIterator<RecordedEvent, undefined> {
    return new FeedIterator(this.#source, this.#options);
  }
}

type Step = IteratorResult<RecordedEvent, undefined>;

class FeedIterator implements AsyncIterator<RecordedEvent, undefined> {
  readonly #feed: EventFeed;
  readonly #bufferMax: number;
  #queue: RecordedEvent[] = [];
  #read = 0;
  #failure: { error: unknown } | undefined;
  #ended = false;
  #waiting: { resolve: (step: Step) => void; reject: (error: unknown) => void } | undefined;

  constructor(source: FeedSource, options: EventStreamOptions) {
    this.#bufferMax = options.bufferMax ?? bufferMaxDefault;
    this.#feed = new EventFeed(source, options, {
      event: (event) => this.#take(event),
      error: (error) => this.#fail(error),
    });
    this.#feed.start();
  }

  next(): Promise<Step> {
    const event = this.#queue[this.#read];
    if (event) {
      this.#read++;
      if (this.#read === this.#queue.length) {
        this.#queue = [];
        this.#read = 0;
      }
      if (this.#queue.length - this.#read <= this.#bufferMax / 2) this.#feed.release();
      return Promise.resolve({ done: false, value: event });
    }
    if (this.#failure) return Promise.reject(this.#failure.error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  return(): Promise<Step> {
    this.#ended = true;
    this.#queue = [];
    this.#read = 0;
    this.#feed.stop();
    this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
    return Promise.resolve({ done: true, value: undefined });
  }

  #take(event: RecordedEvent): void {
    const waiting = this.#waiting;
    if (waiting) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: event });
      return;
    }
    this.#queue.push(event);
    if (this.#queue.length - this.#read >= this.#bufferMax) this.#feed.hold();
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
