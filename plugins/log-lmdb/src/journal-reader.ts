import { closeSync, openSync } from 'node:fs';
import { hasCode } from '@cloudos/sdk';
import { readAcknowledged } from './acknowledged.ts';
import type { BlockLog } from './block-log.ts';
import { afterRecord, type JournalRecord, readEntries, readHeader } from './journal-record.ts';
import { readJournal, segmentPaths } from './journal-scan.ts';
import { isHeld } from './writer-lock.ts';

/** How often a journal is looked at again that a living writer may have changed meanwhile. */
const attemptsMax = 5;

/**
 * Follows the journal of a log that another process writes. A record counts once its events were acknowledged; where no
 * writer lives, every whole record counts, as it will for the next writer.
 */
export class JournalReader {
  readonly #log: BlockLog;
  readonly #directory: string;
  #fds: readonly number[] = [];
  /** Where the next record is likely to be. */
  #cursor: { readonly fd: number; readonly at: number } | undefined;

  constructor(log: BlockLog, directory: string) {
    this.#log = log;
    this.#directory = directory;
  }

  /** Finds the end of the log. @throws CloudosError LOG_CORRUPT */
  open(): void {
    for (let attempt = 1; ; attempt++) {
      const acknowledged = readAcknowledged(this.#directory);
      const isWritten = isHeld(this.#directory, -1);
      try {
        this.#log.rows.resetReadTxn();
        this.#log.recover();
        const { records } = readJournal(this.#directory, this.#log.storedTo);
        const upTo = isWritten ? readAcknowledged(this.#directory) : Number.POSITIVE_INFINITY;
        this.#log.take(records.filter(({ last }) => last <= upTo));
        this.#log.assertReaches(acknowledged);
        return;
      } catch (error) {
        // The writer may have moved events from the journal into the database between the two looks.
        if (!hasCode(error, 'LOG_CORRUPT') || !isWritten || attempt >= attemptsMax) throw error;
      }
    }
  }

  /** Takes in what was acknowledged since. */
  refresh(): void {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const acknowledged = readAcknowledged(this.#directory);
      this.#log.refresh();
      while (this.#log.head < acknowledged) {
        const record = this.#next(this.#log.head + 1);
        if (!record || record.last > acknowledged) break;
        this.#log.take([record]);
      }
      // Neither in the database nor in the journal: it has just moved from one to the other.
      if (this.#log.head >= acknowledged) return;
    }
  }

  close(): void {
    for (const fd of this.#fds) closeSync(fd);
    this.#fds = [];
    this.#cursor = undefined;
  }

  /** The record that begins at a position: after the last one, at the start of another segment, or anywhere. */
  #next(first: number): JournalRecord | undefined {
    const found = this.#cursor && this.#recordAt(this.#cursor.fd, this.#cursor.at, first);
    if (found) return found;
    // Segments come and go with the writer, under the same names.
    this.close();
    const fds = segmentPaths(this.#directory).map((path) => openSync(path, 'r'));
    this.#fds = fds;
    for (const fd of fds) {
      const record = this.#recordAt(fd, 0, first);
      if (record) return record;
    }
    for (const fd of fds) {
      const record = this.#search(fd, first);
      if (record) return record;
    }
    return undefined;
  }

  /** Goes along the chain of a segment. */
  #search(fd: number, first: number): JournalRecord | undefined {
    let before = -1;
    for (let at = 0; ; ) {
      const header = readHeader(fd, at);
      if (!header || header.first <= before || header.first > first) return undefined;
      if (header.first === first) return this.#recordAt(fd, at, first);
      before = header.last;
      at = afterRecord(at, header.bytes);
    }
  }

  #recordAt(fd: number, at: number, first: number): JournalRecord | undefined {
    const header = readHeader(fd, at);
    if (header?.first !== first) return undefined;
    const record = readEntries(fd, at, header);
    if (record) this.#cursor = { fd, at: afterRecord(at, header.bytes) };
    return record;
  }
}
