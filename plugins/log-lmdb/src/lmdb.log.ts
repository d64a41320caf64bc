import { LogTail, subscribeTo } from '@cloudos/event-log';
import {
  type AppendResult,
  type Backpressure,
  type Clock,
  CloudosError,
  type ExpectedRevision,
  type Filter,
  type GlobalRange,
  type IdSource,
  type LogProvider,
  type LogReport,
  type NewEvent,
  newId,
  type RecordedEvent,
  type StreamRange,
  systemClock,
  type TrimResult,
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { AcknowledgedFile, readAcknowledged } from './acknowledged.ts';
import { BlockLog } from './block-log.ts';
import { Committer, commitDeadlineMs } from './committer.ts';
import { withinDeadline } from './deadline.ts';
import { DiskSpace } from './disk-space.ts';
import { Journal } from './journal.ts';
import { type JournalTail, readJournal } from './journal-scan.ts';
import { checkPages } from './page-check.ts';
import { LmdbSnapshots } from './snapshots.ts';
import { openRows, type Rows } from './store.ts';
import { StoredBlocks } from './stored-blocks.ts';
import { Trimmer } from './trimmer.ts';
import { verifyLog } from './verify.ts';
import { WriterLock } from './writer-lock.ts';

export interface LmdbEventLogOptions {
  /** Directory of the log; made if absent. */
  readonly directory: string;
  readonly clock?: Clock;
  readonly newId?: IdSource;
  /** Virtual address space to begin with; the map grows by itself. */
  readonly mapSizeBytes?: number;
  /** How long a commit may take before the log gives up (default {@link commitDeadlineMs}). */
  readonly commitDeadlineMs?: number;
  /** Called when the log cannot go on: a commit failed and it is not known why, or has not settled in time. */
  readonly onFailure?: (error: CloudosError) => void;
  /** Stands in front of the database (default: nothing does). For tests of a disk that does not answer. */
  readonly wrapRows?: (rows: Rows) => Rows;
}

/** The durable log of one writing process. */
export class LmdbEventLog implements LogProvider {
  readonly snapshots: LmdbSnapshots;
  readonly stored: StoredBlocks;
  readonly #log: BlockLog;
  readonly #lock: WriterLock;
  readonly #acknowledged: AcknowledgedFile;
  readonly #committer: Committer;
  readonly #directory: string;
  readonly #tail: LogTail;
  readonly #journal: Journal;
  readonly #trimmer: Trimmer;
  readonly #deadlineMs: number;
  #closing: Promise<void> | undefined;

  private constructor(
    log: BlockLog,
    lock: WriterLock,
    tail: JournalTail,
    freeBytes: number,
    options: LmdbEventLogOptions,
  ) {
    const { directory } = options;
    this.#log = log;
    this.#lock = lock;
    this.#directory = directory;
    this.#acknowledged = new AcknowledgedFile(directory);
    this.#tail = new LogTail(log.head);
    this.#deadlineMs = options.commitDeadlineMs ?? commitDeadlineMs;
    const space = new DiskSpace(directory, freeBytes);
    log.summaries.saveTo(space);
    this.snapshots = new LmdbSnapshots(log.rows, space);
    this.stored = new StoredBlocks(log);
    this.#trimmer = new Trimmer(log, directory, space, this.snapshots, () => this.#committer.checkpoint());
    this.#journal = new Journal(directory, space, tail, log.storedTo);
    this.#committer = new Committer(log, {
      directory,
      journal: this.#journal,
      clock: options.clock ?? systemClock,
      newId: options.newId ?? newId,
      space,
      commitDeadlineMs: this.#deadlineMs,
      onDurable: (events) => {
        this.#acknowledged.write(log.head);
        this.#tail.publish(events);
      },
      onFailure: options.onFailure ?? (() => {}),
    });
    this.#committer.recovered();
  }

  /** @throws CloudosError LOG_HELD, LOG_CORRUPT, LOG_UNAVAILABLE */
  static async open(options: LmdbEventLogOptions): Promise<LmdbEventLog> {
    const { directory, mapSizeBytes, wrapRows = (rows) => rows } = options;
    const lock = await WriterLock.acquire(directory);
    try {
      const freeBytes = checkPages(directory);
      const rows = wrapRows(
        openRows({ directory, readOnly: false, ...(mapSizeBytes === undefined ? {} : { mapSizeBytes }) }),
      );
      try {
        const log = new BlockLog(rows, directory);
        log.recover();
        const tail = readJournal(directory, log.storedTo);
        log.take(tail.records);
        log.assertReaches(readAcknowledged(directory));
        return new LmdbEventLog(log, lock, tail, freeBytes, options);
      } catch (error) {
        await rows.close();
        throw error;
      }
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult> {
    if (this.#closing) return Promise.reject(this.#closed());
    return this.#committer.append(stream, events, at);
  }

  read(range: StreamRange | GlobalRange): AsyncIterable<readonly RecordedEvent[]> {
    const revision = 'stream' in range ? this.#committer.durableRevision(range.stream) : -1;
    return this.#log.read(range, this.#log.head, revision);
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    const source = { tail: this.#tail, first: () => this.first(), read: (range: GlobalRange) => this.read(range) };
    return subscribeTo(source, from, filter, backpressure);
  }

  head(): number {
    return this.#log.head;
  }

  first(): number {
    return this.#log.first;
  }

  async revision(stream: string): Promise<number> {
    if (this.#closing) throw this.#closed();
    return this.#committer.durableRevision(stream);
  }

  trim(before: number): Promise<TrimResult> {
    return this.#closing ? Promise.reject(this.#closed()) : this.#trimmer.trim(before);
  }

  verify(onProgress?: (positions: number) => void): Promise<LogReport> {
    return verifyLog(this.#log, this.#directory, true, onProgress);
  }

  /**
   * Reads the blocks that begin in a range of positions and decodes their columns, no more: no check, no events made of
   * them. The bound of a replay.
   * @returns how many events the blocks hold
   */
  scanRaw(from: number = this.#log.first, to: number = this.#log.head): number {
    return this.#log.scanRaw(from, to);
  }

  /** Commits what was appended, completes the subscriptions, writes the index and lets another process have the log. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A database that does not answer may still write: the lock then stays until the process ends.
    let answers = true;
    try {
      await this.#committer.settle();
      await this.#trimmer.settle();
      this.#tail.close();
      await this.#committer.finish();
      await withinDeadline(this.#log.summaries.settle(), this.#deadlineMs, 'writing summaries');
    } finally {
      this.#tail.close();
      this.#log.closed = true;
      answers = !this.#committer.isStuck;
      await this.#journal.close();
      if (answers) await withinDeadline(this.#log.rows.close(), this.#deadlineMs, 'closing the database');
      this.#acknowledged.close();
      if (answers) this.#lock.release();
    }
  }

  #closed(): CloudosError {
    return new CloudosError('LOG_CLOSED', `the log ${this.#directory} was closed`);
  }
}
