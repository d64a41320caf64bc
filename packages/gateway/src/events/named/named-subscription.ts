import type { CloudEventWriter } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { hasCode, type RecordedEvent } from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import { closeReasonOf } from '../feed.ts';
import type { FeedFilter } from '../feed-filter.ts';
import type { CloseReason } from '../sink.ts';
import type { NamedConsumer } from './named-consumer.ts';
import type { SubscriptionRecord, SubscriptionStore } from './subscription-store.ts';

/** Events of one subscription that are with its consumers, or wait for one, at most. */
export const outstandingMax = 4_096;
/** The same in bytes, as they cross the wire: no more is read beyond, but for the batch that was begun. */
export const outstandingMaxBytes = 8 * 1024 * 1024;
/** Positions that one look for what is still to come passes over at most. */
const passOverMax = 65_536;

/** An event that was read and is not acknowledged. */
interface Outstanding {
  readonly event: RecordedEvent;
  /** Its CloudEvent. */
  readonly text: string;
  /** Who has it; undefined: it waits for somebody. */
  consumer: NamedConsumer | undefined;
  /** Epoch milliseconds at which somebody else gets it. */
  deadline: number;
  deliveries: number;
}

/**
 * One named subscription while somebody is connected to it: reads the log once, hands each event to one of the consumers
 * that compete for them, and again to another when it is not acknowledged in time or its consumer leaves. The cursor is
 * the position before the first event that is not acknowledged; it alone survives a restart, so that what was
 * acknowledged out of order beyond it may come again.
 */
export class NamedSubscription {
  readonly #kernel: Pick<Kernel, 'log'>;
  readonly #store: SubscriptionStore;
  readonly #writer: CloudEventWriter;
  readonly #filter: FeedFilter;
  readonly #onIdle: () => void;
  readonly #consumers = new Set<NamedConsumer>();
  /** By position, in order. */
  readonly #outstanding = new Map<number, Outstanding>();
  #outstandingBytes = 0;
  #record: SubscriptionRecord;
  #read: number;
  #looking = false;
  #subscription: Subscription | undefined;
  #roomy: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #next = 0;

  constructor(
    kernel: Pick<Kernel, 'log'>,
    store: SubscriptionStore,
    record: SubscriptionRecord,
    filter: FeedFilter,
    writer: CloudEventWriter,
    onIdle: () => void,
  ) {
    this.#kernel = kernel;
    this.#store = store;
    this.#record = record;
    this.#filter = filter;
    this.#writer = writer;
    this.#onIdle = onIdle;
    this.#read = record.cursor;
  }

  get record(): SubscriptionRecord {
    return this.#record;
  }

  get consumers(): number {
    return this.#consumers.size;
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get head(): number {
    return this.#kernel.log.head();
  }

  join(consumer: NamedConsumer): void {
    this.#consumers.add(consumer);
    this.#timer ??= setInterval(() => this.#expire(), 250).unref();
    if (!this.#subscription) this.#follow();
    this.dispatch();
  }

  /** What the consumer has not acknowledged goes to the others. */
  leave(consumer: NamedConsumer): void {
    if (!this.#consumers.delete(consumer)) return;
    for (const entry of this.#outstanding.values()) if (entry.consumer === consumer) entry.consumer = undefined;
    if (this.#consumers.size === 0) this.#stop();
    else this.dispatch();
  }

  /** Ends it for everybody: it was deleted, or the log cannot be read. */
  end(reason: CloseReason): void {
    for (const consumer of [...this.#consumers]) consumer.close(reason);
  }

  /**
   * Marks what that consumer was given as done, and stores how far that moves the cursor.
   * @throws CloudosError when the cursor cannot be stored: then it is as if nothing had been acknowledged
   */
  async acknowledge(consumer: NamedConsumer, isDone: (position: number) => boolean): Promise<number> {
    for (const [position, entry] of this.#outstanding) {
      if (entry.consumer !== consumer || !isDone(position)) continue;
      this.#outstanding.delete(position);
      this.#outstandingBytes -= entry.text.length;
      consumer.taken--;
    }
    await this.#moveCursor();
    this.#makeRoom();
    this.dispatch();
    return this.#record.cursor;
  }

  /**
   * Moves the cursor over what does not match, as far as nothing is left to be done: who waits for rare events is level too,
   * and does not begin far behind after a restart.
   */
  async passOver(): Promise<void> {
    const { log } = this.#kernel;
    const from = this.#read + 1;
    const to = Math.min(log.head(), from + passOverMax - 1);
    if (this.#looking || this.#outstanding.size > 0 || to < from) return;
    this.#looking = true;
    try {
      const { matches, liveFilter } = this.#filter;
      for await (const batch of log.read({ from, to, ...(liveFilter && { filter: liveFilter }) })) {
        // It comes by itself.
        if (!matches || batch.some(matches)) return;
      }
      if (this.#outstanding.size > 0 || this.#read >= from) return;
      this.#read = to;
      await this.#moveCursor();
    } catch (error) {
      // What was removed meanwhile, and the end of the log, its subscription tells of.
      if (!hasCode(error, 'LOG_TRIMMED') && !hasCode(error, 'LOG_CLOSED')) throw error;
    } finally {
      this.#looking = false;
    }
  }

  async #moveCursor(): Promise<void> {
    const [first] = this.#outstanding.keys();
    const cursor = first === undefined ? this.#read : first - 1;
    if (cursor <= this.#record.cursor) return;
    this.#record = { ...this.#record, cursor };
    await this.#store.put(this.#record);
  }

  /** Hands out what waits, to one consumer after the other. */
  dispatch(): void {
    const ready = [...this.#consumers].filter((consumer) => consumer.room > 0);
    if (ready.length === 0) return;
    const given = new Map<NamedConsumer, Outstanding[]>();
    for (const entry of this.#outstanding.values()) {
      if (entry.consumer) continue;
      const consumer = this.#turn(ready);
      if (!consumer) break;
      entry.consumer = consumer;
      entry.deadline = Date.now() + consumer.redeliverMs;
      entry.deliveries++;
      consumer.give(entry.text.length);
      const entries = given.get(consumer);
      if (entries) entries.push(entry);
      else given.set(consumer, [entry]);
    }
    for (const [consumer, entries] of given) {
      consumer.send(
        entries.map(({ event }) => event),
        entries.map((entry) => this.#text(entry)),
      );
    }
  }

  #turn(ready: readonly NamedConsumer[]): NamedConsumer | undefined {
    for (let tried = 0; tried < ready.length; tried++) {
      const consumer = ready[this.#next++ % ready.length];
      if (consumer && consumer.room > 0) return consumer;
    }
    return undefined;
  }

  /** The CloudEvent; one that is not told for the first time says so. */
  #text({ text, deliveries }: Outstanding): string {
    return deliveries > 1 ? `${text.slice(0, -1)},"deliveries":${deliveries}}` : text;
  }

  #follow(): void {
    const { matches, liveFilter } = this.#filter;
    const first = this.#kernel.log.first();
    if (this.#read + 1 < first) {
      for (const consumer of this.#consumers) consumer.gap(this.#read + 1, first);
      this.#read = first - 1;
    }
    const log = this.#kernel.log.subscribe(this.#read + 1, liveFilter, { ready: () => this.#room() });
    this.#subscription = log.subscribe({
      next: (batch) => {
        for (const event of batch) {
          this.#read = Math.max(this.#read, event.position);
          if (matches && !matches(event)) continue;
          const text = this.#writer.write(event);
          this.#outstandingBytes += text.length;
          this.#outstanding.set(event.position, { event, text, consumer: undefined, deadline: 0, deliveries: 0 });
        }
        this.dispatch();
      },
      error: (error) => {
        this.#subscription = undefined;
        if (hasCode(error, 'LOG_TRIMMED')) this.#follow();
        else this.end(closeReasonOf(error));
      },
      complete: () => this.end({ code: 1001, text: 'the kernel stops' }),
    });
  }

  #room(): Promise<void> {
    if (this.#hasRoom) return Promise.resolve();
    return new Promise((resolve) => {
      this.#roomy = resolve;
    });
  }

  get #hasRoom(): boolean {
    return this.#outstanding.size < outstandingMax / 2 && this.#outstandingBytes < outstandingMaxBytes / 2;
  }

  #makeRoom(): void {
    if (!this.#hasRoom) return;
    this.#roomy?.();
    this.#roomy = undefined;
  }

  #expire(): void {
    const now = Date.now();
    let expired = false;
    for (const entry of this.#outstanding.values()) {
      if (!entry.consumer || entry.deadline > now) continue;
      entry.consumer.taken--;
      entry.consumer = undefined;
      expired = true;
    }
    if (expired) this.dispatch();
  }

  #stop(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#outstanding.clear();
    this.#outstandingBytes = 0;
    this.#makeRoom();
    this.#read = this.#record.cursor;
    this.#onIdle();
  }
}
