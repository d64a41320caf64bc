import { CloudosError, errorCode, messageOf, type RecordedEvent } from '@cloudos/sdk';
import { type BackoffBounds, backoffMs, defaultBackoff, pause } from './backoff.ts';
import { type CloudEvent, fromCloudEvent } from './cloud-event.ts';
import type { WebSocketConstructor, WebSocketLike } from './web-socket.ts';

/** Which events, and from where on. Conditions as in `Filter` of the sdk: `*` at the end matches any rest. */
export interface EventsQuery {
  /** A position (inclusive), `start`, or `now`: what is appended from now on. Default `now`. */
  readonly from?: number | 'now' | 'start';
  readonly types?: readonly string[];
  readonly streams?: readonly string[];
}

export interface FeedOptions extends EventsQuery {
  /** Attempts in a row without success before the feed fails with KERNEL_UNREACHABLE. Default 20. */
  readonly retriesMax?: number;
  readonly backoff?: BackoffBounds;
  /** Told when the connection opens and when it is lost (with the wait before the next attempt). */
  readonly onConnection?: (state: {
    readonly open: boolean;
    readonly retryInMs?: number;
    readonly reason?: string;
  }) => void;
  readonly random?: () => number;
}

export interface FeedSource {
  readonly webSocket: WebSocketConstructor;
  /** Position of the last event of the log, -1 for an empty log. */
  head(): Promise<number>;
  urlFrom(position: number): string;
  /** To offer in the handshake. */
  readonly protocols: string[];
}

export interface FeedSink {
  event(event: RecordedEvent): void;
  error(error: unknown): void;
}

/** A connection that lived that long counts as a success, even if nothing happened on it. */
const settledMs = 5_000;
const retriesMaxDefault = 20;

interface SessionEnd {
  readonly settled: boolean;
  readonly opened: boolean;
  readonly reason: string;
}

/**
 * Keeps a subscription alive over lost connections: it goes on at the position after the last one delivered, so that
 * every event comes once and in order. It ends by `stop`, or with an error that no retry can mend.
 */
export class EventFeed {
  readonly #source: FeedSource;
  readonly #options: FeedOptions;
  readonly #sink: FeedSink;
  readonly #stopped = new AbortController();
  #next: number | undefined;
  #socket: WebSocketLike | undefined;
  #gaveUp = false;
  #held: { promise: Promise<void>; release: () => void } | undefined;

  constructor(source: FeedSource, options: FeedOptions, sink: FeedSink) {
    this.#source = source;
    this.#options = options;
    this.#sink = sink;
    if (typeof options.from === 'number') this.#next = options.from;
    if (options.from === 'start') this.#next = 0;
  }

  start(): void {
    this.#run().catch((error: unknown) => {
      if (!this.#stopped.signal.aborted) this.#sink.error(error);
    });
  }

  stop(): void {
    this.#stopped.abort();
    this.#held?.release();
    this.#socket?.close(1000);
  }

  /** Takes no more events until `release`: the connection is given up, the log keeps what comes meanwhile. */
  hold(): void {
    if (this.#held || this.#stopped.signal.aborted) return;
    let release = () => {};
    const promise = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#held = { promise, release };
    this.#gaveUp = true;
    const socket = this.#socket;
    // What this connection still brings is not taken, or it would come twice, or after a gap.
    this.#socket = undefined;
    socket?.close(1000);
  }

  release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.release();
  }

  async #run(): Promise<void> {
    const retriesMax = this.#options.retriesMax ?? retriesMaxDefault;
    const { signal } = this.#stopped;
    for (let attempt = 0; ; ) {
      const end = await this.#attempt();
      if (signal.aborted) return;
      if (this.#gaveUp) {
        this.#gaveUp = false;
        await this.#held?.promise;
        attempt = 0;
        continue;
      }
      attempt = end.settled ? 1 : attempt + 1;
      if (attempt > retriesMax) {
        throw new CloudosError('KERNEL_UNREACHABLE', `no event stream after ${retriesMax} attempts: ${end.reason}`);
      }
      const retryInMs = backoffMs(
        attempt,
        this.#options.backoff ?? defaultBackoff,
        (this.#options.random ?? Math.random)(),
      );
      this.#options.onConnection?.({ open: false, retryInMs, reason: end.reason });
      await pause(retryInMs, signal);
      if (signal.aborted) return;
    }
  }

  /** One connection, from finding out where to begin to its end. Throws what no retry can mend. */
  async #attempt(): Promise<SessionEnd> {
    try {
      if (this.#next === undefined) this.#next = (await this.#source.head()) + 1;
      if (this.#stopped.signal.aborted) return { settled: false, opened: false, reason: 'stopped' };
      const end = await this.#session(this.#next);
      // A browser is not told why a handshake was refused; a plain request finds it out.
      if (!end.opened && !this.#stopped.signal.aborted) await this.#assertPosition(this.#next);
      return end;
    } catch (error) {
      const code = errorCode(error);
      if (code === 'KERNEL_UNREACHABLE' || code === 'TIMED_OUT' || code === 'GATEWAY_OVERLOADED') {
        return { settled: false, opened: false, reason: messageOf(error) };
      }
      throw error;
    }
  }

  async #assertPosition(next: number): Promise<void> {
    const head = await this.#source.head();
    if (next > head + 1) {
      throw new CloudosError('POSITION_OUT_OF_RANGE', `events from ${next} were asked for, the log ends at ${head}`, {
        details: { from: next, head },
      });
    }
  }

  #session(from: number): Promise<SessionEnd> {
    return new Promise((resolve) => {
      const socket = new this.#source.webSocket(this.#source.urlFrom(from), this.#source.protocols);
      this.#socket = socket;
      let openedAt: number | undefined;
      let received = false;
      socket.addEventListener('open', () => {
        openedAt = Date.now();
        if (this.#stopped.signal.aborted || this.#socket !== socket) socket.close(1000);
        else this.#options.onConnection?.({ open: true });
      });
      socket.addEventListener('message', (message) => {
        if (this.#stopped.signal.aborted || this.#socket !== socket) return;
        const event = fromCloudEvent(JSON.parse(String(message.data)) as CloudEvent);
        if (event.position < (this.#next ?? 0)) return;
        this.#next = event.position + 1;
        received = true;
        this.#sink.event(event);
      });
      socket.addEventListener('error', () => {});
      socket.addEventListener('close', ({ code, reason }) => {
        const opened = openedAt !== undefined;
        const settled = received || (opened && Date.now() - (openedAt ?? 0) >= settledMs);
        resolve({ opened, settled, reason: reason || `connection closed (${code ?? 'no code'})` });
      });
    });
  }
}
