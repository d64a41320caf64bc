import type { Kernel } from '@cloudos/kernel';
import type { RecordedEvent } from '@cloudos/sdk';

/** Events of one stream that are read ahead while streams are merged. */
const aheadMax = 256;

/**
 * Events of some streams between two positions, in order of position. Reads each stream through the log's index of
 * streams, so that what lies between is not touched: a few events in a long log cost a few reads.
 */
export async function* readStreams(
  log: Pick<Kernel['log'], 'read'>,
  streams: readonly string[],
  from: number,
  to: number,
): AsyncGenerator<readonly RecordedEvent[]> {
  const cursors = await Promise.all(streams.map((stream) => StreamCursor.open(log, stream, from)));
  for (;;) {
    let first: StreamCursor | undefined;
    for (const cursor of cursors) {
      const { head } = cursor;
      if (head && head.position <= to && (!first?.head || head.position < first.head.position)) first = cursor;
    }
    if (!first?.head) return;
    yield [first.head];
    await first.next();
  }
}

class StreamCursor {
  readonly #log: Pick<Kernel['log'], 'read'>;
  readonly #stream: string;
  #events: RecordedEvent[] = [];
  #at = 0;
  #revision: number;

  private constructor(log: Pick<Kernel['log'], 'read'>, stream: string, revision: number) {
    this.#log = log;
    this.#stream = stream;
    this.#revision = revision;
  }

  /** At the first event of the stream at or after a position, found by bisection over its revisions. */
  static async open(log: Pick<Kernel['log'], 'read'>, stream: string, from: number): Promise<StreamCursor> {
    const oldest = await one(log, { stream, limit: 1 });
    const newest = await one(log, { stream, limit: 1, direction: 'backwards' });
    if (!oldest || !newest) return new StreamCursor(log, stream, Number.POSITIVE_INFINITY);
    let low = oldest.revision;
    let high = newest.revision + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const event = await one(log, { stream, from: middle, limit: 1 });
      if (event && event.position < from) low = middle + 1;
      else high = middle;
    }
    const cursor = new StreamCursor(log, stream, low);
    await cursor.#fill();
    return cursor;
  }

  get head(): RecordedEvent | undefined {
    return this.#events[this.#at];
  }

  async next(): Promise<void> {
    this.#at++;
    if (this.#at >= this.#events.length) await this.#fill();
  }

  async #fill(): Promise<void> {
    this.#events = [];
    this.#at = 0;
    if (this.#revision === Number.POSITIVE_INFINITY) return;
    const range = { stream: this.#stream, from: this.#revision, limit: aheadMax };
    for await (const batch of this.#log.read(range)) this.#events.push(...batch);
    this.#revision += this.#events.length;
  }
}

async function one(
  log: Pick<Kernel['log'], 'read'>,
  range: Parameters<Kernel['log']['read']>[0],
): Promise<RecordedEvent | undefined> {
  for await (const [event] of log.read(range)) return event;
  return undefined;
}
