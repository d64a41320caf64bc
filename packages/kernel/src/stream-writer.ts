import {
  type AppendResult,
  type Clock,
  delay,
  type EventLog,
  event,
  hasCode,
  type IdSource,
  type NewEvent,
  type Producer,
} from '@cloudos/sdk';

export interface StreamWriterOptions {
  readonly log: Pick<EventLog, 'append' | 'revision'>;
  readonly stream: string;
  readonly producer: Producer;
  readonly clock: Clock;
  readonly newId: IdSource;
  /** Aborted when the writer's owner stops: waiting ends. */
  readonly signal: AbortSignal;
  /** Called once when a queued append fails for good. */
  readonly onFailure?: (error: unknown) => void;
}

/** What all events of an append have in common. */
export interface AppendMeta {
  readonly causation?: number;
  readonly correlation?: string;
  readonly traceparent?: string;
}

/** Events that may wait in a writer before `write` holds its caller back. */
export const writerQueueMax = 8_192;
/** Events in one append of a writer. */
export const writerBatchMax = 1_024;
/** What `write` resolves with while there is room. */
const roomLeft = Promise.resolve();
/** Between two tries when the log is full or overloaded. */
const retryDelayMs = 250;

/**
 * The one writer of a stream. Claiming the stream moves its revision on, so that a predecessor's next append fails on
 * the fence; ours fails likewise once a successor has claimed (REVISION_CONFLICT).
 */
export class StreamWriter {
  readonly #options: StreamWriterOptions;
  #revision = -1;
  #queue: NewEvent[] = [];
  /** Who waits for the position of a queued event. */
  readonly #positions = new Map<NewEvent, (position: number) => void>();
  #flushing: Promise<void> | undefined;
  #failure: unknown;
  #last = -1;

  constructor(options: StreamWriterOptions) {
    this.#options = options;
  }

  /** Position of the last event that this writer has appended, -1 before the first. */
  get last(): number {
    return this.#last;
  }

  /** Takes over the stream; those events follow in the same append. */
  async claim(events: readonly NewEvent[] = [], about: AppendMeta = {}): Promise<AppendResult> {
    const { log, stream, producer } = this.#options;
    for (let tries = 1; ; tries++) {
      this.#revision = await log.revision(stream);
      try {
        return await this.append([event('StreamClaimed', producer), ...events], about);
      } catch (error) {
        if (!hasCode(error, 'REVISION_CONFLICT') || tries === claimsMax) throw error;
      }
    }
  }

  /**
   * Appends at the revision this writer knows. Waits while the log is full or overloaded, then tries again with the
   * same ids: until there is room, or as long as `patienceMs` says.
   * @throws CloudosError REVISION_CONFLICT when another writer has claimed the stream; LOG_FULL, LOG_OVERLOADED
   */
  async append(
    events: readonly NewEvent[],
    about: AppendMeta = {},
    patienceMs: number = Number.POSITIVE_INFINITY,
  ): Promise<AppendResult> {
    const { log, stream, clock, signal } = this.#options;
    const stamped = this.#stamp(events, about);
    const givesUpAt = clock.now() + patienceMs;
    for (;;) {
      try {
        const result = await log.append(stream, stamped, this.#revision < 0 ? 'none' : this.#revision);
        this.#revision = result.revision;
        this.#last = result.last;
        return result;
      } catch (error) {
        if (!hasCode(error, 'LOG_FULL') && !hasCode(error, 'LOG_OVERLOADED')) throw error;
        if (signal.aborted || clock.now() >= givesUpAt) throw error;
        await delay(clock, retryDelayMs, signal);
      }
    }
  }

  /** Gives each event its id, time and origin. Events of one append share one `meta` unless they bring their own. */
  #stamp(events: readonly NewEvent[], about: AppendMeta): NewEvent[] {
    const { producer, clock, newId } = this.#options;
    const time = clock.now();
    const meta = { producer, ...about };
    return events.map((each) => ({
      type: each.type,
      data: each.data,
      id: each.id ?? newId(),
      time,
      meta: each.meta ? { ...each.meta, ...meta } : meta,
    }));
  }

  /**
   * Queues events to be appended in order, several at once. Resolves when there is room for more, not when they are
   * durable. @throws what an earlier append of the queue failed with
   */
  write(events: readonly NewEvent[]): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    for (const each of events) this.#queue.push(each);
    this.#flushing ??= this.#flush();
    return this.#queue.length > writerQueueMax ? this.#flushing : roomLeft;
  }

  /** Queues one event like {@link write}. Resolves with its position when it is durable. */
  async put(entry: NewEvent): Promise<number> {
    const queued = { ...entry };
    const position = new Promise<number>((resolve) => this.#positions.set(queued, resolve));
    await this.write([queued]);
    await this.flushed();
    return position;
  }

  /** Resolves when everything that was written is durable. */
  async flushed(): Promise<void> {
    await this.#flushing;
    if (this.#failure) throw this.#failure;
  }

  #tellPosition(queued: NewEvent, position: number): void {
    this.#positions.get(queued)?.(position);
    this.#positions.delete(queued);
  }

  async #flush(): Promise<void> {
    await Promise.resolve(); // let the caller's turn add what it has
    try {
      while (this.#queue.length > 0) {
        const batch = this.#queue.splice(0, writerBatchMax);
        const { first } = await this.append(batch);
        if (this.#positions.size > 0) for (const [at, each] of batch.entries()) this.#tellPosition(each, first + at);
      }
    } catch (error) {
      this.#failure = error;
      this.#queue = [];
    } finally {
      this.#flushing = undefined;
    }
    if (this.#failure && !this.#options.signal.aborted) this.#options.onFailure?.(this.#failure);
  }
}

/** A claim is tried again that often when others append in between. */
const claimsMax = 16;

/** True when the error says that another writer has taken over. */
export function isFenced(error: unknown): boolean {
  return hasCode(error, 'REVISION_CONFLICT');
}
