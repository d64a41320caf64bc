import { CloudosError, errorCode, messageOf, newId } from '@cloudos/sdk';
import { type BackoffBounds, backoffMs, defaultBackoff, pause } from './backoff.ts';
import type { AppendOutcome, AppendParams } from './control.ts';
import { ControlConnection } from './control-connection.ts';
import type { FeedSource } from './event-feed.ts';

export interface AppenderOptions {
  /** Appends that may wait for their answer. Beyond, `append` rejects with LOG_OVERLOADED. Default 16,384. */
  readonly inFlightMax?: number;
  /** Attempts in a row to reach the gateway before what waits is rejected. Default 20. */
  readonly retriesMax?: number;
  readonly backoff?: BackoffBounds;
}

/** An append that is not answered yet, on whichever connection. */
class Pending {
  readonly params: AppendParams;
  readonly #all: Set<Pending>;
  readonly #resolve: (outcome: AppendOutcome) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    params: AppendParams,
    all: Set<Pending>,
    resolve: (outcome: AppendOutcome) => void,
    reject: (error: unknown) => void,
  ) {
    this.params = params;
    this.#all = all;
    this.#resolve = resolve;
    this.#reject = reject;
    all.add(this);
  }

  resolve(outcome: AppendOutcome): void {
    if (this.#all.delete(this)) this.#resolve(outcome);
  }

  reject(error: unknown): void {
    // A connection that was lost: it is sent again on the next one.
    if (errorCode(error) !== 'KERNEL_UNREACHABLE') this.fail(error);
  }

  /** For good. */
  fail(error: unknown): void {
    if (this.#all.delete(this)) this.#reject(error);
  }
}

/**
 * Appends private events over one connection, many at a time; each append is answered when it is durable. Every event
 * gets an id before it is sent, so what was on the way when a connection was lost is sent again and recorded once.
 */
export class Appender {
  readonly #source: FeedSource;
  readonly #options: AppenderOptions;
  readonly #pending = new Set<Pending>();
  readonly #closed = new AbortController();
  #connection: ControlConnection | undefined;
  #attempt = 0;

  constructor(source: FeedSource, options: AppenderOptions = {}) {
    this.#source = source;
    this.#options = options;
  }

  /**
   * @throws CloudosError what the gateway refuses with (SCOPE_MISSING, EVENT_INVALID, REVISION_CONFLICT, …),
   * LOG_OVERLOADED, KERNEL_UNREACHABLE (it may have been recorded: the same ids can be appended again)
   */
  append(
    stream: string,
    events: AppendParams['events'],
    expected: NonNullable<AppendParams['expected']> = 'any',
  ): Promise<AppendOutcome> {
    const { inFlightMax = 16_384 } = this.#options;
    if (this.#pending.size >= inFlightMax) {
      const message = `${this.#pending.size} appends wait, expected at most ${inFlightMax}`;
      return Promise.reject(new CloudosError('LOG_OVERLOADED', message));
    }
    if (this.#closed.signal.aborted)
      return Promise.reject(new CloudosError('KERNEL_UNREACHABLE', 'the appender was closed'));
    const named = events.map((event) => (event.id === undefined ? { ...event, id: newId() } : event));
    return new Promise((resolve, reject) => {
      const params = expected === 'any' ? { stream, events: named } : { stream, events: named, expected };
      const pending = new Pending(params, this.#pending, resolve, reject);
      if (!this.#connection) this.#connect();
      this.#send(pending);
    });
  }

  close(): void {
    this.#closed.abort();
    this.#connection?.close();
    this.#rejectAll(new CloudosError('KERNEL_UNREACHABLE', 'the appender was closed'));
  }

  #connect(): void {
    // Nothing is granted, so no event comes.
    const url = this.#source.url({ credit: 0, markers: false, deflate: false });
    this.#connection = new ControlConnection(this.#source.webSocket, url, this.#source.protocols('standard'), {
      opened: () => {
        this.#attempt = 0;
      },
      events: () => {},
      marker: () => {},
      closed: ({ reason }) => void this.#reconnect(reason),
    });
  }

  #send(pending: Pending): void {
    this.#connection?.request('append', pending.params, pending);
  }

  async #reconnect(reason: string): Promise<void> {
    const { retriesMax = 20, backoff = defaultBackoff } = this.#options;
    this.#attempt++;
    if (this.#attempt > retriesMax) {
      this.#connection = undefined;
      this.#attempt = 0;
      return this.#rejectAll(
        new CloudosError('KERNEL_UNREACHABLE', `no connection after ${retriesMax} attempts: ${reason}`),
      );
    }
    try {
      await pause(backoffMs(this.#attempt, backoff, Math.random()), this.#closed.signal);
      if (this.#closed.signal.aborted) return;
      // A handshake is refused without a reason; a plain request finds it out.
      if (this.#attempt > 1) await this.#source.head();
    } catch (error) {
      if (errorCode(error) !== 'KERNEL_UNREACHABLE' && errorCode(error) !== 'TIMED_OUT') {
        this.#connection = undefined;
        return this.#rejectAll(error);
      }
      return this.#reconnect(messageOf(error));
    }
    this.#connect();
    for (const pending of this.#pending) this.#send(pending);
  }

  #rejectAll(error: unknown): void {
    for (const pending of [...this.#pending]) pending.fail(error);
  }
}
