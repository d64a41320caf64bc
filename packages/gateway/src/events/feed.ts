import { CloudEventWriter, type EventFilter } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { hasCode, messageOf, type RecordedEvent } from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import { errorBodyOf } from '../error-response.ts';
import { CatchUp } from './catch-up.ts';
import type { EncodingName } from './encoding.ts';
import { FeedBatch } from './feed-batch.ts';
import { compileFilters, type FeedFilter } from './feed-filter.ts';
import { FeedGroup } from './feed-group.ts';
import { FeedSubscriber, type SubscriberOptions } from './feed-subscriber.ts';
import { PastChunks } from './past-chunks.ts';
import type { CloseReason, Sink } from './sink.ts';

export interface FeedBounds {
  /** Bytes that wait for one subscriber before it is not written to any more. */
  readonly bufferMaxBytes: number;
  /** Bytes of recent chunks that are kept for subscribers that are a little behind, of all groups together. */
  readonly recentMaxBytes: number;
  /** Of one group. */
  readonly recentOfGroupMaxBytes: number;
  /** Bytes that were read of the log for one subscriber and are kept for others of its group, of all groups together. */
  readonly pastMaxBytes: number;
  /** Reads of the log for subscribers that are behind, at once. */
  readonly readsMax: number;
  /** A subscriber whose sink has been full for longer is closed. 0: never, which is the default. */
  readonly slowCloseMs: number;
}

export const defaultFeedBounds: FeedBounds = {
  bufferMaxBytes: 1024 * 1024,
  recentMaxBytes: 64 * 1024 * 1024,
  recentOfGroupMaxBytes: 4 * 1024 * 1024,
  pastMaxBytes: 32 * 1024 * 1024,
  readsMax: 4,
  slowCloseMs: 0,
};

/**
 * The events of a kernel for any number of subscribers. It follows the log once; each batch of appended events is framed
 * once for all subscribers with the same filter and encoding, and written to each with one write.
 */
export class Feed {
  readonly stack: string;
  readonly bounds: FeedBounds;
  readonly #kernel: Pick<Kernel, 'log' | 'status'>;
  readonly #writer: CloudEventWriter;
  readonly #groups = new Map<string, FeedGroup>();
  readonly #past: PastChunks;
  readonly #catchUp: CatchUp;
  /** Told of every batch while a filter is made that has to know of it. */
  readonly #listeners = new Set<(events: readonly RecordedEvent[]) => void>();
  /** Subscribers of what the log has acknowledged and has not told the feed yet. */
  readonly #early = new Set<FeedSubscriber>();
  #head = -1;
  #subscription: Subscription | undefined;
  #slowTimer: NodeJS.Timeout | undefined;

  constructor(kernel: Pick<Kernel, 'log' | 'status'>, bounds: Partial<FeedBounds> = {}) {
    this.bounds = { ...defaultFeedBounds, ...bounds };
    this.stack = kernel.status().stack;
    this.#kernel = kernel;
    this.#writer = new CloudEventWriter(this.stack);
    this.#past = new PastChunks(this.bounds.pastMaxBytes);
    this.#catchUp = new CatchUp({
      log: () => kernel.log,
      writer: this.#writer,
      turnsMax: this.bounds.readsMax,
      head: () => this.#head,
      past: this.#past,
      onError: (subscriber, error) => subscriber.close(closeReasonOf(error)),
    });
  }

  /** Asked for each time: the kernel may read from another provider than before. */
  get #log(): Kernel['log'] {
    return this.#kernel.log;
  }

  /** Position of the last event that it has passed on. */
  get head(): number {
    return this.#head;
  }

  get bufferMaxBytes(): number {
    return this.bounds.bufferMaxBytes;
  }

  /** Bytes that wait for subscribers, all together. What they share counts for each. */
  waitingBytes(): number {
    let bytes = 0;
    for (const { members } of this.#groups.values()) for (const { sink } of members) bytes += sink.waitingBytes;
    return bytes;
  }

  /**
   * Makes a filter and has it used in the same turn. What is appended while it is made it knows of as well: a subscriber
   * that begins behind that would miss what a workload got meanwhile.
   * @throws CloudosError as `compileFilters`
   */
  async withFilter<Result>(asked: EventFilter, use: (filter: FeedFilter) => Result): Promise<Result> {
    if (asked.workload === undefined) return use(await compileFilters([asked], this.#log));
    const meanwhile: RecordedEvent[] = [];
    const listener = (events: readonly RecordedEvent[]) => {
      for (const event of events) if (event.type === 'InstanceRequested') meanwhile.push(event);
    };
    this.#follow();
    this.#listeners.add(listener);
    try {
      const filter = await compileFilters([asked], this.#log);
      filter.learn?.(meanwhile);
      return use(filter);
    } finally {
      this.#listeners.delete(listener);
      this.#unfollowUnlessUsed();
    }
  }

  subscribe(filter: FeedFilter, encoding: EncodingName, sink: Sink, options: SubscriberOptions): FeedSubscriber {
    this.#follow();
    const group = this.#groupOf(filter, encoding, options.stored);
    const subscriber = new FeedSubscriber(this, group, sink, options);
    group.members.add(subscriber);
    if (options.from < this.#log.first()) subscriber.gap(this.#log.first());
    subscriber.advance();
    return subscriber;
  }

  /** The group of a subscriber from now on. */
  move(subscriber: FeedSubscriber, filter: FeedFilter): FeedGroup {
    const group = this.#groupOf(filter, subscriber.group.encoding, subscriber.group.takesStored);
    this.#leaveGroup(subscriber);
    group.members.add(subscriber);
    this.#groups.set(group.key, group);
    return group;
  }

  read(subscriber: FeedSubscriber): void {
    this.#catchUp.ask(subscriber);
  }

  /** Calls on the subscriber again when the log has told of what it acknowledged. */
  wait(subscriber: FeedSubscriber): void {
    this.#early.add(subscriber);
  }

  remove(subscriber: FeedSubscriber): void {
    this.#early.delete(subscriber);
    this.#leaveGroup(subscriber);
    this.#unfollowUnlessUsed();
  }

  #unfollowUnlessUsed(): void {
    if (this.#groups.size === 0 && this.#listeners.size === 0) this.#unfollow();
  }

  #leaveGroup(subscriber: FeedSubscriber): void {
    const { group } = subscriber;
    group.level.delete(subscriber);
    group.members.delete(subscriber);
    if (group.members.size > 0) return;
    this.#past.forget(group.past);
    if (this.#groups.get(group.key) === group) this.#groups.delete(group.key);
  }

  #groupOf(filter: FeedFilter, encoding: EncodingName, stored: boolean): FeedGroup {
    const key = `${encoding}${stored ? '+stored' : ''} ${filter.key}`;
    let group = this.#groups.get(key);
    if (!group) {
      group = new FeedGroup(key, filter, encoding, stored ? this.#log.stored : undefined);
      this.#groups.set(key, group);
    }
    return group;
  }

  #follow(): void {
    if (this.#subscription) return;
    this.#head = this.#log.head();
    const subscription = this.#log.subscribe(this.#head + 1).subscribe({
      next: (events) => this.#take(events),
      error: (error) => this.#closeAll(closeReasonOf(error)),
      complete: () => this.#closeAll({ code: 1001, text: 'the kernel stops' }),
    });
    this.#subscription = subscription;
    if (this.bounds.slowCloseMs > 0) {
      this.#slowTimer = setInterval(() => this.#closeSlow(), Math.max(10, this.bounds.slowCloseMs / 4));
      this.#slowTimer.unref();
    }
  }

  #unfollow(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    clearInterval(this.#slowTimer);
  }

  #take(events: readonly RecordedEvent[]): void {
    const batch = new FeedBatch(events, this.#writer, this.#head + 1);
    const { recentMaxBytes, recentOfGroupMaxBytes } = this.bounds;
    const keepBytes = Math.min(recentOfGroupMaxBytes, recentMaxBytes / this.#groups.size);
    const made: { group: FeedGroup; chunks: ReturnType<FeedGroup['take']> }[] = [];
    for (const listener of this.#listeners) listener(events);
    for (const group of this.#groups.values()) {
      try {
        if (!group.isWanted) {
          group.filter.learn?.(events);
          continue;
        }
        const chunks = group.take(batch, keepBytes);
        if (chunks.length > 0) made.push({ group, chunks });
      } catch (error) {
        for (const subscriber of [...group.members]) subscriber.close(closeReasonOf(error));
      }
    }
    this.#head = batch.last;
    for (const { group, chunks } of made) {
      for (const subscriber of [...group.level]) {
        for (const chunk of chunks) if (!group.level.has(subscriber) || !subscriber.offer(chunk)) break;
      }
    }
    if (this.#early.size === 0) return;
    const early = [...this.#early];
    this.#early.clear();
    for (const subscriber of early) subscriber.advance();
  }

  #closeAll(reason: CloseReason): void {
    for (const group of [...this.#groups.values()]) {
      for (const subscriber of [...group.members]) subscriber.close(reason);
    }
    this.#unfollow();
  }

  #closeSlow(): void {
    const since = Date.now() - this.bounds.slowCloseMs;
    for (const group of [...this.#groups.values()]) {
      for (const subscriber of [...group.members]) {
        if (subscriber.fullSince === 0 || subscriber.fullSince > since) continue;
        const text = `took nothing for ${this.bounds.slowCloseMs} ms`;
        subscriber.close({ code: 4008, text, isForced: true });
      }
    }
  }
}

/** How a connection ends that asked for what cannot be; the reason begins with the error code. */
export function refusalOf(error: unknown): CloseReason {
  const reason = closeReasonOf(error);
  return reason.code === 1011 ? { ...reason, code: 4400 } : reason;
}

/** How a feed ends that cannot go on. */
export function closeReasonOf(error: unknown): CloseReason {
  if (hasCode(error, 'LOG_CLOSED')) return { code: 1001, text: 'the kernel stops' };
  return { code: 1011, text: `${errorBodyOf(error).code}: ${messageOf(error)}` };
}
