import type { EncodedBlock } from './block.codec.ts';
import type { BlockLog } from './block-log.ts';
import { withChecksum } from './checked-row.ts';
import { encodeHeads } from './heads.ts';
import { metaKeys } from './keys.ts';

/** Postings held in memory before they are written. */
export const postingsPendingMax = 131_072;
/** How long postings wait at most before they are written, in milliseconds. */
export const indexDelayMs = 5_000;
/** Index rows in one transaction, so that none keeps the thread, or the disk, for long. */
export const indexRowsPerCommit = 256;
/** Events after which the heads of all streams are saved (or twice as many events as there are streams). */
export const headsEveryEvents = 65_536;

/** Writes the stream index in the background: a slice of rows with each checkpoint. */
export class IndexWriter {
  readonly #log: BlockLog;
  readonly #kick: () => void;
  readonly #durableHeads: () => ReadonlyMap<string, number>;
  #timer: NodeJS.Timeout | undefined;
  #due = false;
  /** Streams of the current round that are on disk, and that the running commit writes. */
  #written = 0;
  #putting = 0;
  /** The position up to which the current round indexes. */
  #upTo = -1;
  /** The position of the heads that the running transaction writes, -1 for none. */
  #headsPut = -1;

  /**
   * @param kick asks for a checkpoint
   * @param durableHeads the revisions of all streams at the head of the log: the ledger may be ahead of it
   */
  constructor(log: BlockLog, kick: () => void, durableHeads: () => ReadonlyMap<string, number>) {
    this.#log = log;
    this.#kick = kick;
    this.#durableHeads = durableHeads;
  }

  /** Whether the next commit has index rows to write. */
  get wanted(): boolean {
    const { postings } = this.#log;
    return postings.writing || this.#due || postings.pending >= postingsPendingMax;
  }

  add(block: EncodedBlock): void {
    for (let at = 0; at < block.names.length; at++) {
      this.#log.postings.add(block.names[at]!, block.first, block.revisions[at]!);
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#due = true;
      this.#kick();
    }, indexDelayMs).unref();
  }

  /** Adds the next rows to the transaction that is being put together: the database then has all up to the head. */
  put(rowsMax: number = indexRowsPerCommit): Promise<boolean> | undefined {
    if (!this.wanted) return undefined;
    const { postings, rows, head } = this.#log;
    if (!postings.writing) {
      this.#due = false;
      if (postings.pending === 0) return undefined;
      postings.begin();
      this.#upTo = head;
    }
    let put: Promise<boolean> | undefined;
    this.#putting = 0;
    for (const { key, value } of postings.slice(this.#written, rowsMax)) {
      put = rows.put(key, value);
      this.#putting++;
    }
    if (this.#written + this.#putting === postings.flushingStreams) {
      const watermark = Buffer.alloc(8);
      watermark.writeDoubleLE(this.#upTo);
      put = rows.put(metaKeys.watermark, withChecksum(watermark));
      if (this.#headsDue()) put = this.#putHeads();
    }
    return put;
  }

  /** The transaction is on disk. */
  flushed(): void {
    this.#written += this.#putting;
    this.#putting = 0;
    if (this.#headsPut >= 0) this.#log.headsSavedTo = this.#headsPut;
    this.#headsPut = -1;
    if (this.#log.postings.writing && this.#written === this.#log.postings.flushingStreams) {
      this.#log.postings.written();
      this.#written = 0;
    }
  }

  /** The transaction came to nothing: the same rows are due again. */
  failed(): void {
    this.#putting = 0;
    this.#headsPut = -1;
  }

  /** Writes no more. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Writes all that is left, and the heads. */
  async finish(): Promise<void> {
    clearTimeout(this.#timer);
    const { postings, rows, head } = this.#log;
    while (postings.writing || postings.pending > 0) {
      this.#due = true;
      await this.put(Number.MAX_SAFE_INTEGER);
      this.flushed();
    }
    if (this.#log.headsSavedTo < head) await this.#putHeads();
    await rows.flushed;
  }

  #headsDue(): boolean {
    const { head, headsSavedTo, ledger } = this.#log;
    return head - headsSavedTo >= Math.max(headsEveryEvents, ledger.streams * 2);
  }

  #putHeads(): Promise<boolean> {
    const { rows, head, ids } = this.#log;
    this.#headsPut = head;
    return rows.put(metaKeys.heads, encodeHeads(head, ids, this.#durableHeads()));
  }
}
