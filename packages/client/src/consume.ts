import type { RecordedEvent } from '@cloudos/sdk';
import { EventFeed, type FeedOptions, type FeedSource } from './event-feed.ts';

/**
 * A consumer that keeps its own position, in the same transaction as what it makes of the events: then each event takes
 * effect exactly once, whenever either side dies.
 */
export interface Consumer {
  /** Position of the last event that took effect; undefined: none yet, which begins at `from` (default `start`). */
  load(): Promise<number | undefined> | number | undefined;
  /**
   * Lets a batch take effect and stores its last position, both or neither. Called for one batch after the other. When it
   * throws, nothing of the batch may have taken effect, and consuming ends with that error.
   */
  handle(events: readonly RecordedEvent[], position: number): Promise<void> | void;
}

export interface ConsumeOptions extends FeedOptions {
  /** Events that are taken ahead of the handler. Default 10,000. */
  readonly bufferMax?: number;
  /** Events that the handler is given at once. Default 1,000. */
  readonly batchMax?: number;
  /** Ends it: resolves once the batch under way is done. */
  readonly signal?: AbortSignal;
}

/**
 * Hands every matching event to a consumer exactly once and in order. Resolves when the signal is aborted or `to` is
 * reached; rejects with what the feed or the consumer fails with.
 */
export async function consume(source: FeedSource, consumer: Consumer, options: ConsumeOptions = {}): Promise<void> {
  const { bufferMax = 10_000, batchMax = 1_000, signal } = options;
  const loaded = await consumer.load();
  const queue: RecordedEvent[] = [];
  let wake = () => {};
  let end: { error?: unknown } | undefined;
  const over = (how: { error?: unknown }) => {
    end ??= how;
    wake();
  };
  const feed = new EventFeed(
    source,
    { ...options, from: loaded === undefined ? (options.from ?? 'start') : loaded + 1 },
    {
      events: (events) => {
        for (const event of events) queue.push(event);
        wake();
      },
      error: (error) => over({ error }),
      complete: () => over({}),
    },
    bufferMax,
  );
  const stop = () => over({});
  signal?.addEventListener('abort', stop, { once: true });
  feed.start();
  try {
    while (!signal?.aborted) {
      if (queue.length === 0) {
        if (end) break;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const batch = queue.splice(0, batchMax);
      await consumer.handle(batch, (batch.at(-1) as RecordedEvent).position);
      feed.grant(batch.length);
    }
    if (end && 'error' in end && !signal?.aborted) throw end.error;
  } finally {
    signal?.removeEventListener('abort', stop);
    feed.stop();
  }
}
