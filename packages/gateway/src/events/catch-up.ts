import type { CloudEventWriter } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import { hasCode, type RecordedEvent } from '@cloudos/sdk';
import { isBatched } from './encoding.ts';
import { FeedBatch } from './feed-batch.ts';
import type { FeedFilter } from './feed-filter.ts';
import { type Chunk, rowsChunks, storedChunks } from './feed-group.ts';
import type { FeedSubscriber } from './feed-subscriber.ts';
import type { PastChunks } from './past-chunks.ts';
import { readStreams } from './stream-merge.ts';

/** Events that one turn of a subscriber reads at most; fewer where they are large. */
const readEventsMax = 4096;
/** Events of the first turn, when it is not known how large they are. */
const readEventsMin = 64;
/** What one turn should come to. */
const readBytes = 512 * 1024;
/** Positions that one turn passes over at most when nothing matches. */
const spanPositionsMax = 65_536;
const spanPositionsMin = 64;

/** What one turn found: chunks to deliver, and where the next turn begins. */
interface Turn {
  readonly chunks: readonly Chunk[];
  readonly next: number;
}

/**
 * Reads the log for subscribers that are behind, a few at a time and each for a bounded turn, so that a thousand that
 * come back at once neither hold up the others nor fill the memory. What is read for one is there for the others of its
 * group: turns end at multiples of the group's span, so that those who begin at different places soon meet.
 */
export class CatchUp {
  readonly #logNow: () => Kernel['log'];
  readonly #writer: CloudEventWriter;
  readonly #turnsMax: number;
  readonly #head: () => number;
  readonly #past: PastChunks;
  readonly #onError: (subscriber: FeedSubscriber, error: unknown) => void;
  readonly #line: FeedSubscriber[] = [];
  /** Of an event, as was seen lately. */
  #eventBytes = readBytes / readEventsMin;
  #turns = 0;

  constructor(options: {
    readonly log: () => Kernel['log'];
    readonly writer: CloudEventWriter;
    readonly turnsMax: number;
    /** Where catch-up ends and what is live begins. */
    readonly head: () => number;
    readonly past: PastChunks;
    readonly onError: (subscriber: FeedSubscriber, error: unknown) => void;
  }) {
    this.#logNow = options.log;
    this.#writer = options.writer;
    this.#turnsMax = options.turnsMax;
    this.#head = options.head;
    this.#past = options.past;
    this.#onError = options.onError;
  }

  /** Events of one turn. */
  get #size(): number {
    return Math.max(readEventsMin, Math.min(readEventsMax, Math.floor(readBytes / this.#eventBytes)));
  }

  get #log(): Kernel['log'] {
    return this.#logNow();
  }

  /** Gives the subscriber a turn when it is its time. */
  ask(subscriber: FeedSubscriber): void {
    subscriber.reading = true;
    this.#line.push(subscriber);
    if (this.#turns < this.#turnsMax) void this.#work();
  }

  async #work(): Promise<void> {
    this.#turns++;
    for (let subscriber = this.#line.shift(); subscriber; subscriber = this.#line.shift()) {
      await this.#serve(subscriber);
    }
    this.#turns--;
  }

  async #serve(subscriber: FeedSubscriber): Promise<void> {
    try {
      const kept = this.#log.first();
      if (subscriber.next < kept) subscriber.gap(kept);
      // Somebody else may have had it read while this one was in line.
      if (subscriber.isReady && !subscriber.keptChunk()) {
        const { group, next: from } = subscriber;
        const underWay = group.reads.get(from);
        if (underWay) return void underWay.then(() => release(subscriber));
        const turn = await this.#turn(subscriber);
        // The filter was changed meanwhile: what was read is what nobody wants.
        if (group === subscriber.group && from === subscriber.next) hand(subscriber, turn);
      }
      release(subscriber);
    } catch (error) {
      subscriber.reading = false;
      if (hasCode(error, 'LOG_TRIMMED')) {
        subscriber.gap(this.#log.first());
        subscriber.advance();
      } else this.#onError(subscriber, error);
    }
  }

  /** Reads what comes next for a subscriber, and keeps it where others may come to want it. */
  async #turn(subscriber: FeedSubscriber): Promise<Turn> {
    const { group, next, to, credit } = subscriber;
    const read = () => (group.stored ? this.#stored(subscriber) : this.#selected(subscriber));
    // What ends where it does for this one alone is of no use to others.
    if (group.members.size < 2 || to !== Number.POSITIVE_INFINITY || credit < this.#size) return read();
    let done = () => {};
    const under = new Promise<void>((resolve) => {
      done = resolve;
    });
    group.reads.set(next, under);
    try {
      const turn = await read();
      if (group.members.size > 1) this.#past.keep(group.past, turn.chunks, next, turn.next);
      return turn;
    } finally {
      group.reads.delete(next);
      done();
    }
  }

  /** Blocks as they are stored, unless the end of a range or the credit cuts through one. */
  async #stored(subscriber: FeedSubscriber): Promise<Turn> {
    const { group, next, to, credit } = subscriber;
    const head = this.#head();
    if (!group.stored) return this.#selected(subscriber);
    await new Promise<void>((resolve) => setImmediate(resolve));
    const [chunk] = storedChunks(group.stored, group.encoding, next, head, 1);
    if (!chunk) return { chunks: [], next: head + 1 };
    if (chunk.last > to || chunk.count > credit) return this.#selected(subscriber);
    return { chunks: [chunk], next: chunk.last + 1 };
  }

  async #selected(subscriber: FeedSubscriber): Promise<Turn> {
    const { group, next, to, credit } = subscriber;
    const { filter, encoding } = group;
    const size = this.#size;
    const limit = Math.min(size, credit);
    const { span } = group;
    const scan = filter.isIndexed ? Number.POSITIVE_INFINITY : nextMultiple(next, span) - 1;
    // Beyond what the filter for the log was made from, it is not asked.
    const known = next <= filter.logFilterTo ? filter.logFilterTo : Number.POSITIVE_INFINITY;
    const end = Math.min(this.#head(), to, scan, known);
    const events: RecordedEvent[] = [];
    for await (const batch of this.#read(filter, next, end, limit)) {
      for (const event of batch) {
        if (filter.matches && !filter.matches(event)) continue;
        events.push(event);
        if (events.length >= limit) break;
      }
      if (events.length >= limit) break;
    }
    const isFull = events.length >= limit;
    const last = isFull ? (events.at(-1) as RecordedEvent).position : end;
    if (isFull && limit === size) group.span = Math.max(spanPositionsMin, span / 2);
    else if (next % span === 0 && end === scan && events.length < size / 4) {
      group.span = Math.min(spanPositionsMax, span * 2);
    }
    if (events.length === 0) return { chunks: [], next: last + 1 };
    const chunks = isBatched(encoding)
      ? rowsChunks(encoding, events, { first: next, last })
      : new FeedBatch(events, this.#writer, next, last).chunks(encoding, undefined);
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
    this.#eventBytes = (this.#eventBytes + bytes / events.length) / 2;
    return { chunks, next: last + 1 };
  }

  #read(filter: FeedFilter, from: number, to: number, limit: number): AsyncIterable<readonly RecordedEvent[]> {
    if (filter.streams && filter.isIndexed) return readStreams(this.#log, filter.streams, from, to);
    return this.#log.read({
      from,
      to,
      ...(filter.logFilter && from <= filter.logFilterTo && { filter: filter.logFilter }),
      // What the log cannot evaluate itself it must not count either.
      ...(filter.isOfLog && { limit }),
    });
  }
}

function release(subscriber: FeedSubscriber): void {
  subscriber.reading = false;
  subscriber.advance();
}

function nextMultiple(position: number, of: number): number {
  return (Math.floor(position / of) + 1) * of;
}

function hand(subscriber: FeedSubscriber, { chunks, next }: Turn): void {
  for (const chunk of chunks) {
    // What does not fit, or came too late for one that was paused meanwhile, is read again when it can be sent.
    if (!subscriber.isReady || subscriber.isFull) return;
    subscriber.deliver(chunk, chunk.last + 1);
  }
  subscriber.skip(next);
}
