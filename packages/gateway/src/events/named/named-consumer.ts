import type { RecordedEvent } from '@cloudos/sdk';
import { type EncodingName, frameEvents, isBatched, rowsMessages } from '../encoding.ts';
import { closeReasonOf } from '../feed.ts';
import { markerBytes } from '../markers.ts';
import type { CloseReason, Sink } from '../sink.ts';
import type { NamedSubscription } from './named-subscription.ts';

export interface ConsumerOptions {
  readonly encoding: EncodingName;
  readonly stack: string;
  /** Events that it may have without having acknowledged them. */
  readonly inFlightMax: number;
  /** After that long without acknowledgement an event goes to another consumer. */
  readonly redeliverMs: number;
  readonly credit: number;
  /** What may wait for it; beyond, it is given nothing. One event more may. */
  readonly bufferMaxBytes: number;
  readonly heartbeatMs: number;
  /** Whether it is told of them. */
  readonly markers: boolean;
}

/** One connection that takes events of a named subscription. */
export class NamedConsumer {
  readonly redeliverMs: number;
  readonly #subscription: NamedSubscription;
  readonly #sink: Sink;
  readonly #options: ConsumerOptions;
  readonly #heartbeat: NodeJS.Timeout;
  #paused = false;
  /** Of what it is given and is not written yet. */
  #givenBytes = 0;
  /** Events that it has and has not acknowledged. */
  taken = 0;
  credit: number;

  constructor(subscription: NamedSubscription, sink: Sink, options: ConsumerOptions) {
    this.#subscription = subscription;
    this.#sink = sink;
    this.#options = options;
    this.redeliverMs = options.redeliverMs;
    this.credit = options.credit;
    sink.onDrain(() => subscription.dispatch());
    sink.onClose(() => {
      clearInterval(this.#heartbeat);
      subscription.leave(this);
    });
    this.#heartbeat = setInterval(() => this.#beat(), options.heartbeatMs).unref();
  }

  /** How many events it can be given now. */
  get room(): number {
    const { inFlightMax, bufferMaxBytes } = this.#options;
    if (this.#paused || !this.#sink.isOpen || this.#sink.waitingBytes + this.#givenBytes >= bufferMaxBytes) return 0;
    return Math.min(inFlightMax - this.taken, this.credit);
  }

  /** Counts an event that it is to be sent. */
  give(bytes: number): void {
    this.taken++;
    this.credit--;
    this.#givenBytes += bytes;
  }

  send(events: readonly RecordedEvent[], texts: readonly string[]): void {
    this.#givenBytes = 0;
    const { encoding } = this.#options;
    const last = (events.at(-1) as RecordedEvent).position;
    this.#sink.write(
      isBatched(encoding) ? rowsMessages(encoding, events, last) : frameEvents(encoding, events, texts).bytes,
    );
  }

  #beat(): void {
    this.#subscription.passOver().then(
      () => {
        if (!this.#options.markers || !this.#sink.isOpen || this.#sink.waitingBytes > 0) return;
        const { encoding, stack } = this.#options;
        const { head, record } = this.#subscription;
        this.#sink.write(markerBytes(encoding, stack, 'Heartbeat', { position: record.cursor, head }));
      },
      (error: unknown) => this.#subscription.end(closeReasonOf(error)),
    );
  }

  gap(from: number, first: number): void {
    const { encoding, stack } = this.#options;
    const snapshot = { method: 'snapshot', path: '/v1/view' } as const;
    this.#sink.write(
      markerBytes(encoding, stack, 'Gap', { from, to: first - 1, head: this.#subscription.head, snapshot }),
    );
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#subscription.dispatch();
  }

  grant(events: number): number {
    this.credit = this.credit === Number.POSITIVE_INFINITY ? events : this.credit + events;
    const { credit } = this;
    this.#subscription.dispatch();
    return credit;
  }

  close(reason: CloseReason): void {
    clearInterval(this.#heartbeat);
    this.#subscription.leave(this);
    this.#sink.close(reason);
  }
}
