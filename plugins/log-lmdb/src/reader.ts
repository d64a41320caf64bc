import { LogTail, subscribeTo } from '@cloudos/event-log';
import {
  type AppendResult,
  type Backpressure,
  CloudosError,
  type Filter,
  type GlobalRange,
  type LogProvider,
  type LogReport,
  type RecordedEvent,
  type Snapshot,
  type StreamRange,
  type TrimResult,
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { BlockLog } from './block-log.ts';
import { DiskSpace } from './disk-space.ts';
import { JournalReader } from './journal-reader.ts';
import { checkPages } from './page-check.ts';
import { LmdbSnapshots } from './snapshots.ts';
import { openRows } from './store.ts';
import { verifyLog } from './verify.ts';

/** A log opened read-only: everything of a {@link LogProvider} but writing, and `close`. */
export interface LogReader extends LogProvider {
  close(): Promise<void>;
}

/**
 * Opens a log for reading, also while another process writes it. `head` and everything that reads sees what was
 * acknowledged at the time of the call, in the database or in the journal; a subscription follows when the reader is asked (`head`, `read`), it does not poll.
 * @throws CloudosError LOG_UNAVAILABLE, LOG_CORRUPT
 */
export async function openLogReader(directory: string): Promise<LogReader> {
  checkPages(directory);
  const rows = openRows({ directory, readOnly: true });
  try {
    const log = new BlockLog(rows, directory);
    const journal = new JournalReader(log, directory);
    journal.open();
    return new LmdbLogReader(log, journal, directory);
  } catch (error) {
    await rows.close();
    throw error;
  }
}

class LmdbLogReader implements LogReader {
  readonly snapshots;
  readonly #log: BlockLog;
  readonly #journal: JournalReader;
  readonly #directory: string;
  readonly #tail: LogTail;

  constructor(log: BlockLog, journal: JournalReader, directory: string) {
    this.#log = log;
    this.#journal = journal;
    this.#directory = directory;
    this.#tail = new LogTail(log.head, 0);
    const stored = new LmdbSnapshots(log.rows, new DiskSpace(directory));
    this.snapshots = {
      load: (key: string, version: number) => stored.load(key, version),
      save: (_key: string, _snapshot: Snapshot): Promise<void> => Promise.reject(this.#readOnly()),
      list: () => stored.list(),
      remove: (_key: string): Promise<void> => Promise.reject(this.#readOnly()),
    };
  }

  append(): Promise<AppendResult> {
    return Promise.reject(this.#readOnly());
  }

  read(range: StreamRange | GlobalRange): AsyncIterable<readonly RecordedEvent[]> {
    const head = this.head();
    return this.#log.read(range, head, 'stream' in range ? this.#log.ledger.revision(range.stream) : -1);
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    const source = { tail: this.#tail, first: () => this.first(), read: (range: GlobalRange) => this.read(range) };
    return subscribeTo(source, from, filter, backpressure);
  }

  head(): number {
    if (this.#log.closed) return this.#log.head;
    this.#journal.refresh();
    this.#tail.advance(this.#log.head);
    return this.#log.head;
  }

  first(): number {
    this.head();
    return this.#log.first;
  }

  trim(_before: number): Promise<TrimResult> {
    return Promise.reject(this.#readOnly());
  }

  async revision(stream: string): Promise<number> {
    this.#log.assertOpen();
    this.head();
    return this.#log.ledger.revision(stream);
  }

  verify(onProgress?: (positions: number) => void): Promise<LogReport> {
    this.head();
    return verifyLog(this.#log, this.#directory, false, onProgress);
  }

  async close(): Promise<void> {
    if (this.#log.closed) return;
    this.#tail.close();
    this.#log.closed = true;
    this.#journal.close();
    await this.#log.rows.close();
  }

  #readOnly(): CloudosError {
    return new CloudosError('LOG_READ_ONLY', `${this.#directory} is open for reading only`, {
      remedy: 'Append through the process that holds the log.',
    });
  }
}
