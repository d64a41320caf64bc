import type { ControlMarkers, ControlName } from '@cloudos/client';
import { structuresMessage } from './encoding.ts';
import type { Feed } from './feed.ts';
import type { FeedFilter } from './feed-filter.ts';
import { type Chunk, chunkMaxBytes, type FeedGroup } from './feed-group.ts';
import { markerBytes } from './markers.ts';
import type { CloseReason, Sink } from './sink.ts';

/** What a subscription begins with. */
export interface SubscriberOptions {
  readonly from: number;
  /** Inclusive; the feed ends behind it. */
  readonly to: number | undefined;
  /** Whether `Live` and `Heartbeat` are told. A gap always is. */
  readonly markers: boolean;
  /** Events that may be sent before more is granted. */
  readonly credit: number;
  readonly heartbeatMs: number;
  /** Whether batches may be sent as they are stored, where the encoding has that. */
  readonly stored: boolean;
}

/**
 * One subscription: where it is, and what holds it up. It is either level with the log, and gets each chunk as it is
 * made, or behind, and draws at its own pace from what the group keeps or from the log. Nothing is queued for it: what
 * it costs is what its sink has not been able to send, at most `bufferMaxBytes` and one chunk.
 */
export class FeedSubscriber {
  readonly sink: Sink;
  readonly to: number;
  readonly markers: boolean;
  readonly #feed: Feed;
  #group: FeedGroup;
  #next: number;
  #credit: number;
  #paused = false;
  #closed = false;
  #wasLive = false;
  #structures = 0;
  /** A read of the log is under way or in line for it. */
  reading = false;
  /** Since when the sink has been full; 0 while it is not. */
  fullSince = 0;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(feed: Feed, group: FeedGroup, sink: Sink, options: SubscriberOptions) {
    this.#feed = feed;
    this.#group = group;
    this.sink = sink;
    this.#next = options.from;
    this.to = options.to ?? Number.POSITIVE_INFINITY;
    this.markers = options.markers;
    this.#credit = options.credit;
    sink.onDrain(() => this.#drained());
    sink.onClose(() => this.#end());
    if (options.markers) {
      this.#heartbeat = setInterval(() => this.#beat(), options.heartbeatMs);
      this.#heartbeat.unref();
    }
  }

  get group(): FeedGroup {
    return this.#group;
  }

  /** The first position that has not been dealt with yet. */
  get next(): number {
    return this.#group.level.has(this) ? this.#feed.head + 1 : this.#next;
  }

  get credit(): number {
    return this.#credit;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Whether it may be sent anything now. */
  get isReady(): boolean {
    return !this.#closed && !this.#paused && this.#credit > 0 && this.sink.isOpen;
  }

  /** From the next position on. */
  refilter(filter: FeedFilter): void {
    if (this.#closed) return;
    this.#leave();
    this.#group = this.#feed.move(this, filter);
    this.advance();
  }

  pause(): void {
    this.#paused = true;
    this.#leave();
  }

  resume(): void {
    this.#paused = false;
    this.advance();
  }

  /** Returns what may be sent in all, before anything of it is. */
  grant(events: number): number {
    this.#credit = this.#credit === Number.POSITIVE_INFINITY ? events : this.#credit + events;
    const credit = this.#credit;
    if (events > 0) this.advance();
    return credit;
  }

  /** Sends what is there, as far as the sink takes it; asks for a read of the log where that is needed. */
  advance(): void {
    while (this.isReady && !this.reading && !this.#group.level.has(this)) {
      if (this.#next > this.to) return this.close({ code: 1000, text: 'the end of the range' });
      if (this.#next > this.#feed.head) return this.#levelOrEarly();
      if (this.#isFull()) return;
      const chunk = this.keptChunk();
      if (!chunk) return this.#feed.read(this);
      this.deliver(chunk, chunk.last + 1);
    }
  }

  /** What comes next, where it need not be read of the log and may be sent as a whole. */
  keptChunk(): Chunk | undefined {
    const chunk = this.#group.chunkAt(this.#next);
    return chunk && chunk.count <= this.#credit && chunk.last <= this.to ? chunk : undefined;
  }

  /** A chunk that was just made, for a subscriber that is level. False: it goes on by itself, if it can. */
  offer(chunk: Chunk): boolean {
    if (this.isReady && chunk.count <= this.#credit && chunk.last <= this.to && this.#fits(chunk)) {
      this.deliver(chunk, chunk.last + 1);
      return true;
    }
    this.#group.level.delete(this);
    this.#next = chunk.first;
    this.#isFull();
    this.advance();
    return false;
  }

  deliver(chunk: Chunk, next: number): void {
    this.#next = next;
    if (chunk.count === 0) return;
    if (chunk.structures > this.#structures) this.#sendStructures();
    this.#credit -= chunk.count;
    this.sink.write(chunk.bytes);
  }

  /** Nothing matches before that position. */
  skip(next: number): void {
    this.#next = next;
  }

  tell<Name extends ControlName>(name: Name, data: ControlMarkers[Name]): void {
    if (this.sink.isOpen) this.sink.write(markerBytes(this.#group.encoding, this.#feed.stack, name, data));
  }

  /** What was asked for is not kept any more: says so, and goes on with the first that is. */
  gap(first: number): void {
    if (this.#next >= first) return;
    const from = this.#next;
    this.#next = first;
    const snapshot = { method: 'snapshot', path: '/v1/view' } as const;
    this.tell('Gap', { from, to: first - 1, head: this.#feed.head, snapshot });
  }

  close(reason: CloseReason): void {
    this.#end();
    this.sink.close(reason);
  }

  #levelOrEarly(): void {
    const isEarly = this.#next > this.#feed.head + 1;
    if (!isEarly) this.#tellLive();
    // One with an end looks again after each batch: it may have to end without anything to be sent.
    if (isEarly || this.to !== Number.POSITIVE_INFINITY) return this.#feed.wait(this);
    this.#group.level.add(this);
  }

  #tellLive(): void {
    if (this.#wasLive) return;
    this.#wasLive = true;
    if (this.markers) this.tell('Live', { position: this.#feed.head, head: this.#feed.head });
  }

  #beat(): void {
    if (!this.#closed && this.sink.waitingBytes === 0) {
      this.tell('Heartbeat', { position: Math.min(this.next - 1, this.#feed.head), head: this.#feed.head });
    }
  }

  #drained(): void {
    this.fullSince = 0;
    this.advance();
  }

  get isFull(): boolean {
    return this.sink.waitingBytes >= this.#feed.bufferMaxBytes;
  }

  #isFull(): boolean {
    const full = this.isFull;
    if (full && this.fullSince === 0) this.fullSince = Date.now();
    return full;
  }

  #fits(chunk: Chunk): boolean {
    const { waitingBytes } = this.sink;
    return (
      waitingBytes === 0 || waitingBytes + Math.min(chunk.bytes.length, chunkMaxBytes) <= this.#feed.bufferMaxBytes
    );
  }

  #sendStructures(): void {
    const structures = this.#group.stored?.structures();
    if (!structures) return;
    this.#structures = structures.length;
    this.sink.write(structuresMessage(this.#group.encoding, structures));
  }

  /** Not level any more, and where it would go on is known. */
  #leave(): void {
    if (this.#group.level.delete(this)) this.#next = this.#feed.head + 1;
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leave();
    clearInterval(this.#heartbeat);
    this.#feed.remove(this);
  }
}
