import { segmentPositions, summarize } from '@cloudos/event-log';
import type { RecordedEvent } from '@cloudos/sdk';
import type { BlockLog } from './block-log.ts';
import { checkedValue, withChecksum } from './checked-row.ts';
import type { DiskSpace } from './disk-space.ts';
import { summaryKey } from './keys.ts';

/**
 * What the segments of the log hold, so that a read with a filter passes over most of them. A summary is made by the
 * first such read that comes through its segment, and kept in the database beside the blocks; one that is missing or
 * damaged is made anew. Segments that are not yet in the database as a whole have none.
 */
export class Summaries {
  readonly #log: BlockLog;
  #space: DiskSpace | undefined;
  #saving: Promise<unknown> = Promise.resolve();

  constructor(log: BlockLog) {
    this.#log = log;
  }

  /** From now on summaries are written, as far as the disk has room for them. */
  saveTo(space: DiskSpace): void {
    this.#space = space;
  }

  stored(segment: number): Buffer | undefined {
    return checkedValue(this.#log.rows.get(summaryKey(segment)));
  }

  /** Whether all events of a segment are kept and in the database. */
  isWhole(segment: number): boolean {
    const begin = segment * segmentPositions;
    return begin >= this.#log.first && begin + segmentPositions - 1 <= Math.min(this.#log.storedTo, this.#log.head);
  }

  /** Makes the summary of a segment from its events. */
  make(segment: number, events: readonly RecordedEvent[]): Buffer {
    const summary = summarize(events);
    if (this.#space?.fits(summary.length + 8192)) {
      // What fails here is made again, and whatever is wrong with the database the next commit finds out.
      this.#saving = this.#log.rows.put(summaryKey(segment), withChecksum(summary)).catch(() => {});
    }
    return summary;
  }

  /** Resolves when nothing is being written. */
  async settle(): Promise<void> {
    await this.#saving;
  }
}
