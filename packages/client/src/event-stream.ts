import type { RecordedEvent, SharedEvent, SharedEventType } from '@cloudos/sdk';
import { Observable } from 'rxjs';
import { EventFeed, type FeedOptions, type FeedSource } from './event-feed.ts';

/** The event of a type, with its data typed where the type is shared. */
export type EventOf<Type extends string> = Type extends SharedEventType
  ? Extract<SharedEvent, { readonly type: Type }>
  : RecordedEvent;

export interface EventStreamOptions extends FeedOptions {
  /**
   * How many events an async iterator takes ahead of a slow loop. The server sends no more than that: the log is the
   * buffer. Default 10,000.
   */
  readonly bufferMax?: number;
}

const bufferMaxDefault = 10_000;

/**
 * Events of a running kernel, as an Observable and as an async iterator. Cold: each subscription and each loop has a
 * connection of its own, resumes by itself, and delivers every matching event once and in order.
 *
 * Fails with UNAUTHENTICATED (TOKEN_EXPIRED, TOKEN_REVOKED), POSITION_OUT_OF_RANGE, KERNEL_UNREACHABLE (retries
 * exhausted), or LOG_TRIMMED (a gap, and no `onGap`).
 */
export class EventStream<Event extends RecordedEvent = RecordedEvent>
  extends Observable<Event>
  implements AsyncIterable<Event>
{
  readonly #source: FeedSource;
  readonly #options: EventStreamOptions;

  constructor(source: FeedSource, options: EventStreamOptions) {
    super((subscriber) => {
      const feed = new EventFeed(source, options, {
        events: (events) => {
          for (const event of events) subscriber.next(event as Event);
        },
        error: (error) => subscriber.error(error),
        complete: () => subscriber.complete(),
      });
      feed.start();
      return () => feed.stop();
    });
    this.#source = source;
    this.#options = options;
  }

  [Symbol.asyncIterator](): AsyncIterator<Event, undefined> {
    return new FeedIterator(this.#source, this.#options) as AsyncIterator<Event, undefined>;
  }
}

type Step = IteratorResult<RecordedEvent, undefined>;

class FeedIterator implements AsyncIterator<RecordedEvent, undefined> {
  readonly #feed: EventFeed;
  readonly #grantAt: number;
  #batches: (readonly RecordedEvent[])[] = [];
  #read = 0;
  #taken = 0;
  #end: { readonly error?: unknown } | undefined;
  #waiting: { resolve: (step: Step) => void; reject: (error: unknown) => void } | undefined;

  constructor(source: FeedSource, options: EventStreamOptions) {
    const bufferMax = options.bufferMax ?? bufferMaxDefault;
    this.#grantAt = Math.max(1, Math.floor(bufferMax / 2));
    const sink = {
      events: (events: readonly RecordedEvent[]) => this.#take(events),
      error: (error: unknown) => this.#finish({ error }),
      complete: () => this.#finish({}),
    };
    this.#feed = new EventFeed(source, options, sink, bufferMax);
    this.#feed.start();
  }

  next(): Promise<Step> {
    const event = this.#shift();
    if (event) return Promise.resolve({ done: false, value: event });
    if (this.#end) {
      return 'error' in this.#end ? Promise.reject(this.#end.error) : Promise.resolve({ done: true, value: undefined });
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  return(): Promise<Step> {
    this.#batches = [];
    this.#feed.stop();
    this.#finish({});
    return Promise.resolve({ done: true, value: undefined });
  }

  #shift(): RecordedEvent | undefined {
    const batch = this.#batches[0];
    if (!batch) return undefined;
    const event = batch[this.#read++];
    if (this.#read >= batch.length) {
      this.#batches.shift();
      this.#read = 0;
    }
    if (++this.#taken >= this.#grantAt) {
      this.#feed.grant(this.#taken);
      this.#taken = 0;
    }
    return event;
  }

  #take(events: readonly RecordedEvent[]): void {
    if (this.#end) return;
    this.#batches.push(events);
    const waiting = this.#waiting;
    if (!waiting) return;
    this.#waiting = undefined;
    waiting.resolve({ done: false, value: this.#shift() as RecordedEvent });
  }

  #finish(end: { readonly error?: unknown }): void {
    this.#end ??= end;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) return;
    if ('error' in end) waiting.reject(end.error);
    else waiting.resolve({ done: true, value: undefined });
  }
}
