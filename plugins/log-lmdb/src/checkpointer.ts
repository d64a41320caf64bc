import type { CloudosError } from '@cloudos/sdk';
import type { EncodedBlock } from './block.codec.ts';
import type { BlockLog } from './block-log.ts';
import type { BlockSpace } from './block-space.ts';
import { withChecksum } from './checked-row.ts';
import { withinDeadline } from './deadline.ts';
import type { DiskSpace } from './disk-space.ts';
import type { IndexWriter } from './index-writer.ts';
import { blockKey, metaKeys } from './keys.ts';

/** Bytes in the journal alone after which they are brought into the database. */
export const checkpointBytes = 4 * 1024 * 1024;
/**
 * How long events are in the journal alone at most, in milliseconds, where the database keeps up. A flush of the journal
 * that meets one of the database waits for it: so seldom that it is not seen in one append of a hundred.
 */
export const checkpointDelayMs = 2_000;
/** After a checkpoint that found the disk full, in milliseconds. */
const retryDelayMs = 500;

/**
 * A commit on its way into the database: its blocks and nothing that hangs on its events, which would otherwise outlive
 * the collection of young objects.
 */
export interface StoredBatch {
  readonly blocks: readonly Pick<EncodedBlock, 'first' | 'value' | 'arena'>[];
  /** At most what the database writes for them. */
  readonly bytes: number;
  /** Position of its last event. */
  readonly last: number;
}

export interface CheckpointerOptions {
  readonly space: DiskSpace;
  /** Where the blocks lie. */
  readonly memory: BlockSpace;
  readonly deadlineMs: number;
  /** The database has everything up to that position. */
  readonly onStored: (position: number) => void;
  /** Turns what went wrong into an error. Where that is not LOG_FULL the log cannot go on. */
  readonly failed: (error: unknown) => Promise<CloudosError>;
}

/**
 * Brings into the database what is durable in the journal, with index rows beside, one transaction at a time. What the
 * journal cannot take goes through here directly, after all that came before it.
 */
export class Checkpointer {
  readonly #log: BlockLog;
  readonly #index: IndexWriter;
  readonly #options: CheckpointerOptions;
  #queue: StoredBatch[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(log: BlockLog, index: IndexWriter, options: CheckpointerOptions) {
    this.#log = log;
    this.#index = index;
    this.#options = options;
  }

  /** Takes what is durable in the journal. */
  add(batch: StoredBatch): void {
    this.#queue.push(batch);
    this.#bytes += batch.bytes;
    this.#options.space.owed += batch.bytes;
    if (this.#bytes >= checkpointBytes) this.kick();
    else this.#later(checkpointDelayMs);
  }

  /** There is something to write: soon, unless it is being done. */
  kick(): void {
    if (this.#running || this.#isStopped) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Writes a batch that the journal does not have. Durable when it resolves. @throws what the database throws */
  async through(batch: StoredBatch): Promise<void> {
    while (this.#running) await this.#running;
    const write = this.#write([...this.#queue, batch]);
    this.#running = write
      .catch(() => {})
      .finally(() => {
        this.#running = undefined;
      });
    await write;
  }

  /** Resolves when what is in the queue now is in the database, or the disk is full. */
  async flush(): Promise<void> {
    while (this.#running) await this.#running;
    if (this.#queue.length > 0) this.kick();
    await this.#running;
  }

  /** Writes all there is. @throws what the database throws */
  async finish(): Promise<void> {
    await this.stop();
    if (this.#queue.length > 0) await this.#write([...this.#queue]);
  }

  /** Writes no more; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      do await this.#write([...this.#queue]);
      while (!this.#isStopped && (this.#bytes >= checkpointBytes || this.#index.wanted));
    } catch (error) {
      const failure = await this.#options.failed(error);
      if (failure.code === 'LOG_FULL') this.#later(retryDelayMs);
      else this.#isStopped = true;
    }
  }

  /** @param batches all that are in the queue now, and perhaps one more; the queue goes on growing meanwhile */
  async #write(batches: readonly StoredBatch[]): Promise<void> {
    const { rows } = this.#log;
    const queued = this.#queue.length;
    const structures = this.#log.unsavedStructures;
    const last = batches.at(-1)?.last ?? this.#log.storedTo;
    let written: Promise<boolean> | undefined;
    try {
      if (structures) written = rows.put(metaKeys.structures, withChecksum(structures));
      for (const { blocks } of batches)
        for (const { first, value } of blocks) written = rows.put(blockKey(first), value);
      written = this.#index.put() ?? written;
      if (!written) return;
      await withinDeadline(Promise.all([written, rows.flushed]), this.#options.deadlineMs, 'a commit');
    } catch (error) {
      this.#index.failed();
      throw error;
    }
    if (this.#log.unsavedStructures === structures) this.#log.unsavedStructures = undefined;
    this.#index.flushed();
    this.#settle(batches, queued, last);
  }

  #settle(batches: readonly StoredBatch[], queued: number, last: number): void {
    for (const { bytes } of this.#queue.splice(0, queued)) {
      this.#bytes -= bytes;
      this.#options.space.owed -= bytes;
    }
    this.#log.storedTo = last;
    this.#log.pending.drop(last);
    for (const { blocks } of batches) for (const { arena } of blocks) this.#options.memory.release(arena);
    if (this.#queue.length > 0) this.#later(checkpointDelayMs);
    this.#options.onStored(last);
  }

  #later(delayMs: number): void {
    if (this.#isStopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.kick();
    }, delayMs);
    this.#timer.unref();
  }
}
