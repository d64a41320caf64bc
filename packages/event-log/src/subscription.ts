import {
  type Backpressure,
  type Filter,
  type GlobalRange,
  hasCode,
  type RecordedEvent,
  readBatchMax,
} from '@cloudos/sdk';
import { Observable, type Subscriber } from 'rxjs';
import { compileFilter, type EventPredicate } from './filter.ts';
import { trimmed } from './range.ts';
import type { LogTail, TailReader } from './tail.ts';

/** What a subscription draws from. */
export interface SubscriptionSource {
  readonly tail: LogTail;
  /** The first position that is kept. */
  first(): number;
  read(range: GlobalRange): AsyncIterable<readonly RecordedEvent[]>;
}

/**
 * Catch-up, then live, as `EventLog.subscribe` promises. It draws: each subscription has a position of its own and takes
 * the next events from the shared tail, or from the log when they have left it. Nothing is buffered for a subscriber.
 */
export function subscribeTo(
  source: SubscriptionSource,
  from: number,
  filter?: Filter,
  backpressure?: Backpressure,
): Observable<readonly RecordedEvent[]> {
  return new Observable((subscriber) => {
    const pump = new SubscriptionPump(source, subscriber, from, filter, backpressure);
    void pump.run();
    return () => pump.stop();
  });
}

class SubscriptionPump implements TailReader {
  readonly #source: SubscriptionSource;
  readonly #subscriber: Subscriber<readonly RecordedEvent[]>;
  readonly #filter: Filter | undefined;
  readonly #wanted: EventPredicate | undefined;
  readonly #backpressure: Backpressure | undefined;
  #next: number;
  #release: (() => void) | undefined;
  readonly #unfollow: () => void;
  readonly #uncall: () => void;

  constructor(
    source: SubscriptionSource,
    subscriber: Subscriber<readonly RecordedEvent[]>,
    from: number,
    filter: Filter | undefined,
    backpressure: Backpressure | undefined,
  ) {
    this.#source = source;
    this.#subscriber = subscriber;
    this.#filter = filter;
    this.#wanted = compileFilter(filter);
    this.#backpressure = backpressure;
    this.#next = Math.max(0, from);
    this.#unfollow = source.tail.follow(this);
    this.#uncall = source.tail.onClose(() => this.#release?.());
  }

  get next(): number {
    return this.#next;
  }

  stop(): void {
    this.#leave();
    this.#release?.();
  }

  #leave(): void {
    this.#unfollow();
    this.#uncall();
  }

  async run(): Promise<void> {
    const { tail } = this.#source;
    try {
      // A subscriber learns of nothing before its subscription is complete, not even of what is there already.
      await undefined;
      while (!this.#subscriber.closed) {
        if (this.#next <= tail.head) {
          if (!(await this.#advance())) break;
        } else if (tail.closed) {
          break;
        } else {
          await this.#waitFor((done) => tail.onNext(done));
        }
      }
      this.#leave();
      this.#subscriber.complete();
    } catch (error) {
      this.#leave();
      if (tail.closed && hasCode(error, 'LOG_CLOSED')) this.#subscriber.complete();
      else this.#subscriber.error(error);
    }
  }

  /** Delivers what is there. False when the subscription ends. */
  async #advance(): Promise<boolean> {
    const { tail } = this.#source;
    const first = this.#source.first();
    if (this.#next < first) throw trimmed(this.#next, first);
    const recent = tail.since(this.#next, readBatchMax);
    if (recent) {
      this.#next += recent.length;
      const batch = this.#wanted ? recent.filter(this.#wanted) : recent;
      return batch.length === 0 || (await this.#deliver(batch));
    }
    const to = tail.head;
    const range = { from: this.#next, to, ...(this.#filter ? { filter: this.#filter } : {}) };
    for await (const batch of this.#source.read(range)) {
      this.#next = batch[batch.length - 1]!.position + 1;
      if (!(await this.#deliver(batch))) return false;
      // Once the tail reaches back far enough there is no need to decode the same events again.
      if (tail.since(this.#next, 1)) return true;
    }
    this.#next = to + 1;
    return true;
  }

  async #deliver(batch: readonly RecordedEvent[]): Promise<boolean> {
    this.#subscriber.next(batch);
    if (this.#subscriber.closed) return false;
    if (!this.#backpressure) return true;
    const ready = this.#backpressure.ready();
    let isReady = false;
    await this.#waitFor((done, fail) => {
      ready.then(() => {
        isReady = true;
        done();
      }, fail);
      if (this.#source.tail.closed) queueMicrotask(done);
    });
    return isReady && !this.#subscriber.closed;
  }

  /** Waits for something; ends early when the subscription is given up or the log closes. */
  #waitFor(begin: (done: () => void, fail: (error: unknown) => void) => unknown): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      let cancel: unknown;
      this.#release = () => {
        if (typeof cancel === 'function') cancel();
        resolve();
      };
      cancel = begin(resolve, reject);
    }).then(() => {
      this.#release = undefined;
    });
  }
}
