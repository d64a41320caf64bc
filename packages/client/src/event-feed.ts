import { CloudosError, type ErrorCode, errorCode, errorCodes, messageOf, type RecordedEvent } from '@cloudos/sdk';
import { type BackoffBounds, backoffMs, defaultBackoff, pause } from './backoff.ts';
import type { ControlMarkers, ControlName, GapMarker } from './control.ts';
import { ControlConnection, type FeedProtocol } from './control-connection.ts';
import type { EventFilter } from './event-filter.ts';
import type { WebSocketConstructor } from './web-socket.ts';

/** Which events, and from where on. */
export interface EventsQuery extends EventFilter {
  /** A position (inclusive), `start`, a time, or `now`: what is appended from now on. Default `now`. */
  readonly from?: number | 'now' | 'start' | Date;
  /** Inclusive; the feed ends behind it. */
  readonly to?: number;
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
  /**
   * Retention has removed events that were to come next; those after them follow. Without it the feed fails with
   * LOG_TRIMMED: nobody goes on over a gap without having said so.
   */
  readonly onGap?: (gap: GapMarker) => void;
  /** Catch-up is over, and from time to time: everything up to `position` was delivered. */
  readonly onLevel?: (at: ControlMarkers['Live']) => void;
  /** How often a quiet feed is told how far it is. 100 to 300,000; default 15,000. */
  readonly heartbeatMs?: number;
  /** How events cross the wire. Default `compact`; `standard` is one JSON object a message. */
  readonly protocol?: FeedProtocol;
  /** Whether messages are compressed, where the WebSocket can. Default false: of use on a slow network alone. */
  readonly compression?: boolean;
  readonly random?: () => number;
}

/** Where the connections of a feed go. */
export interface FeedSource {
  readonly webSocket: WebSocketConstructor;
  /** Position of the last event of the log, -1 for an empty log. */
  head(): Promise<number>;
  url(query: Readonly<Record<string, string | number | boolean | undefined>>): string;
  /** To offer in the handshake. */
  protocols(protocol: FeedProtocol): string[];
}

export interface FeedSink {
  events(events: readonly RecordedEvent[]): void;
  error(error: unknown): void;
  /** The end of the range was reached. */
  complete(): void;
}

/** A connection that lived that long counts as a success, even if nothing happened on it. */
const settledMs = 5_000;
const retriesMaxDefault = 20;
/** Close codes whose reason begins with an error code: what was asked for cannot be, the token has ended, it was deleted. */
const refusals: ReadonlySet<number> = new Set([4400, 4401, 4410]);

interface SessionEnd {
  readonly settled: boolean;
  readonly opened: boolean;
  readonly code?: number | undefined;
  readonly reason: string;
}

/**
 * Keeps a subscription alive over lost connections: it goes on at the position after the last one that was dealt with,
 * so that every event comes once and in order. It ends by `stop`, behind `to`, or with an error that no retry can mend.
 */
export class EventFeed {
  readonly #source: FeedSource;
  readonly #options: FeedOptions;
  readonly #sink: FeedSink;
  readonly #stopped = new AbortController();
  #next: number | undefined;
  #credit: number | undefined;
  #connection: ControlConnection | undefined;
  #onStop: () => void = () => {};

  /** @param credit events to take before more is granted; undefined: any number */
  constructor(source: FeedSource, options: FeedOptions, sink: FeedSink, credit?: number) {
    this.#source = source;
    this.#options = options;
    this.#sink = sink;
    this.#credit = credit;
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
    this.#connection?.close();
    this.#onStop();
  }

  /** That many more events may come. */
  grant(events: number): void {
    if (this.#credit === undefined || this.#stopped.signal.aborted) return;
    this.#credit += events;
    // A connection that is lost meanwhile is taken up again with what is left.
    this.#connection?.call('credit', { events }).catch(() => {});
  }

  async #run(): Promise<void> {
    const retriesMax = this.#options.retriesMax ?? retriesMaxDefault;
    const { signal } = this.#stopped;
    for (let attempt = 0; ; ) {
      const end = await this.#attempt();
      if (signal.aborted) return;
      if (this.#options.to !== undefined && (this.#next ?? 0) > this.#options.to) return this.#sink.complete();
      attempt = end.settled ? 1 : attempt + 1;
      if (attempt > retriesMax) {
        throw new CloudosError('KERNEL_UNREACHABLE', `no event stream after ${retriesMax} attempts: ${end.reason}`);
      }
      const { backoff = defaultBackoff, random = Math.random } = this.#options;
      const retryInMs = backoffMs(attempt, backoff, random());
      this.#options.onConnection?.({ open: false, retryInMs, reason: end.reason });
      await pause(retryInMs, signal);
      if (signal.aborted) return;
    }
  }

  /** One connection, from finding out where to begin to its end. Throws what no retry can mend. */
  async #attempt(): Promise<SessionEnd> {
    try {
      if (this.#next === undefined && !(this.#options.from instanceof Date)) {
        this.#next = (await this.#source.head()) + 1;
      }
      if (this.#stopped.signal.aborted) return { settled: false, opened: false, reason: 'stopped' };
      const end = await this.#session();
      const refusal = endOf(end.code, end.reason);
      if (refusal) throw refusal;
      if (end.code === 1000 && this.#options.to !== undefined) this.#next = this.#options.to + 1;
      // A browser is not told why a handshake was refused; a plain request finds it out.
      if (!end.opened && !this.#stopped.signal.aborted) await this.#assertPosition();
      return end;
    } catch (error) {
      const code = errorCode(error);
      if (isRetried(code)) return { settled: false, opened: false, reason: messageOf(error) };
      throw error;
    }
  }

  async #assertPosition(): Promise<void> {
    const head = await this.#source.head();
    const next = this.#next ?? 0;
    if (next <= head + 1) return;
    throw new CloudosError('POSITION_OUT_OF_RANGE', `events from ${next} were asked for, the log ends at ${head}`, {
      details: { from: next, head },
    });
  }

  #session(): Promise<SessionEnd> {
    return new Promise((resolve, reject) => {
      let openedAt: number | undefined;
      let received = false;
      const { protocol = 'compact' } = this.#options;
      const connection = new ControlConnection(this.#source.webSocket, this.#url(), this.#source.protocols(protocol), {
        opened: () => {
          openedAt = Date.now();
          this.#options.onConnection?.({ open: true });
        },
        events: (events, last) => {
          received = true;
          this.#take(events, last);
        },
        marker: (name, data) => {
          try {
            this.#marker(name, data);
          } catch (error) {
            connection.close();
            reject(error);
          }
        },
        closed: ({ code, reason }) => {
          const opened = openedAt !== undefined;
          const settled = received || (opened && Date.now() - (openedAt ?? 0) >= settledMs);
          resolve({ opened, settled, code, reason: reason || `connection closed (${code ?? 'no code'})` });
        },
      });
      this.#connection = connection;
      this.#onStop = () => resolve({ settled: false, opened: false, reason: 'stopped' });
    });
  }

  #url(): string {
    const { from, to, types, streams, workload, node, layer, cause, heartbeatMs } = this.#options;
    return this.#source.url({
      from: this.#next ?? (from instanceof Date ? `@${from.getTime()}` : undefined),
      to,
      types: types?.join(','),
      streams: streams?.join(','),
      workload,
      node,
      layer,
      cause,
      markers: true,
      heartbeatMs,
      deflate: this.#options.compression ?? false,
      credit: this.#credit,
    });
  }

  #take(events: readonly RecordedEvent[], last: number): void {
    const next = this.#next ?? 0;
    this.#next = Math.max(next, last + 1);
    const wanted = events.length > 0 && (events[0] as RecordedEvent).position < next ? after(events, next) : events;
    if (this.#credit !== undefined) this.#credit -= events.length;
    if (wanted.length > 0) this.#sink.events(wanted);
  }

  #marker<Name extends ControlName>(name: Name, data: ControlMarkers[Name]): void {
    if (name === 'Gap') {
      const gap = data as GapMarker;
      if (!this.#options.onGap) {
        throw new CloudosError('LOG_TRIMMED', `events ${gap.from} to ${gap.to} are not kept any more`, {
          details: { ...gap },
        });
      }
      this.#next = Math.max(this.#next ?? 0, gap.to + 1);
      return this.#options.onGap(gap);
    }
    const at = data as ControlMarkers['Live'];
    this.#next = Math.max(this.#next ?? 0, at.position + 1);
    this.#options.onLevel?.(at);
  }
}

/** What another attempt may mend. */
const retried: ReadonlySet<string> = new Set([
  'KERNEL_UNREACHABLE',
  'TIMED_OUT',
  'GATEWAY_OVERLOADED',
  'RATE_LIMITED',
  'CONNECTIONS_EXCEEDED',
  'SUBSCRIPTIONS_EXCEEDED',
]);

function after(events: readonly RecordedEvent[], next: number): readonly RecordedEvent[] {
  return events.filter(({ position }) => position >= next);
}

/** The error that a close stands for; undefined: another attempt may do. */
export function endOf(code: number | undefined, reason: string): CloudosError | undefined {
  if (code === undefined || !refusals.has(code)) return undefined;
  const [name = '', ...rest] = reason.split(': ');
  const known = Object.hasOwn(errorCodes, name) ? (name as ErrorCode) : 'UNAUTHENTICATED';
  return new CloudosError(known, rest.join(': ') || 'the connection ended with its token');
}

export function isRetried(code: string | undefined): boolean {
  return code !== undefined && retried.has(code);
}
