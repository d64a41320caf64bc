import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CloudosError } from '@cloudos/sdk';
import type { DiskSpace } from './disk-space.ts';
import { afterRecord, recordAlignment, recordBytes, recordHead } from './journal-record.ts';
import { type JournalTail, journalDirectory } from './journal-scan.ts';

const mebi = 1024 * 1024;
/** Bytes of the segments, in the order in which they are made when the others do not suffice. */
export const segmentBytes: readonly number[] = [2, 2, 8, 16, 16, 16].map((size) => size * mebi);
/** A commit with more bytes goes into the database directly. */
export const journalCommitBytesMax = 2 * mebi;
/** After a segment could not be made, in milliseconds. */
const retryDelayMs = 5_000;
/** How many segments stay when the log is closed. */
const segmentsKept = 2;
const zeros = Buffer.alloc(mebi);

interface Segment {
  readonly path: string;
  readonly fd: number;
  readonly bytes: number;
  /** The last position in it: it may be used again when the database has that. */
  last: number;
}

/**
 * Files of fixed size in front of the database, preallocated with zeros, so that writing into them changes no metadata
 * and a flush is one write to the disk. A segment is used again when the database has all that is in it.
 */
export class Journal {
  readonly #directory: string;
  readonly #space: DiskSpace;
  readonly #segments: (Segment | undefined)[] = segmentBytes.map(() => undefined);
  #current: Segment | undefined;
  #at = 0;
  #storedTo = -1;
  #preparing: Promise<void> | undefined;
  #isClosed = false;
  #notBefore = 0;

  /**
   * Opens the segments that there are, and makes void what a crash left half written.
   * @param tail what is in them
   * @param storedTo the last position that the database has
   */
  constructor(directory: string, space: DiskSpace, tail: JournalTail, storedTo: number) {
    this.#directory = journalDirectory(directory);
    this.#space = space;
    this.#storedTo = storedTo;
    for (const [index, bytes] of segmentBytes.entries()) {
      const path = this.#pathOf(index);
      const last = tail.lasts.get(path);
      if (last === undefined) continue;
      const fd = openSync(path, 'r+');
      // One that was not finished, or was cut off, is not used again.
      const isWhole = fstatSync(fd).size >= bytes;
      this.#segments[index] = { path, fd, bytes: isWhole ? bytes : 0, last };
      if (tail.torn?.path === path) makeVoid(fd, tail.torn.at);
    }
  }

  /**
   * Whether a record of these entries can be taken now. If not, more room is being made: a segment comes free when the
   * database has caught up, or another one is made.
   */
  takes(entries: readonly Uint8Array[]): boolean {
    const bytes = recordBytes(entries);
    if (bytes > journalCommitBytesMax) return false;
    if (this.#current && this.#at + bytes <= this.#current.bytes) return true;
    const next = this.#free().at(-1);
    if (next) {
      this.#current = next;
      this.#at = 0;
    }
    if (this.#free().length === 0) this.#prepare();
    return next !== undefined;
  }

  /**
   * Writes a record. Not durable before {@link flush}.
   * @param entries new record structures, if there are, then blocks
   */
  write(entries: readonly Buffer[], about: { first: number; last: number; hasStructures: boolean }): void {
    const segment = this.#current!;
    const bytes = recordBytes(entries);
    try {
      const written = writevSync(segment.fd, [recordHead(entries, about), ...joined(entries)], this.#at);
      if (written !== bytes) throw new Error(`no space: ${written} of ${bytes} bytes were written to ${segment.path}`);
    } catch (error) {
      // What is there may be whole all the same: it must not come back after it was refused.
      makeVoid(segment.fd, this.#at);
      throw error;
    }
    segment.last = about.last;
    this.#at = afterRecord(this.#at, bytes);
  }

  /**
   * Makes what was written durable.
   * @throws CloudosError LOG_UNAVAILABLE: after a flush that failed, whatever the reason, nobody knows what is on the disk
   */
  flush(): Promise<void> {
    const { fd, path } = this.#current!;
    return new Promise((resolve, reject) => {
      fdatasync(fd, (cause) => {
        if (!cause) return resolve();
        const remedy = 'See the cause, then open the log again: it finds out what is there.';
        reject(new CloudosError('LOG_UNAVAILABLE', `${path}: a flush failed: ${cause.message}`, { cause, remedy }));
      });
    });
  }

  /** The database has everything up to that position. */
  stored(position: number): void {
    this.#storedTo = position;
  }

  /** Removes the segments that a few appends do not need. Everything must be in the database. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#preparing;
    for (const [index, segment] of this.#segments.entries()) {
      if (!segment) continue;
      closeSync(segment.fd);
      const isSpare = index >= segmentsKept || segment.bytes === 0;
      if (isSpare && segment.last <= this.#storedTo) rmSync(segment.path, { force: true });
    }
  }

  /** Segments that may be used again. */
  #free(): Segment[] {
    const isFree = (segment?: Segment) =>
      segment && segment !== this.#current && segment.bytes > 0 && segment.last <= this.#storedTo;
    return this.#segments.filter(isFree) as Segment[];
  }

  /** Makes the next segment in the background. Nothing waits for it: without one commits go into the database. */
  #prepare(): void {
    const index = this.#segments.indexOf(undefined);
    if (this.#preparing || this.#isClosed || index < 0 || performance.now() < this.#notBefore) return;
    if (!this.#space.fits(2 * segmentBytes[index]!)) return;
    this.#preparing = this.#make(index)
      .catch(() => {
        this.#notBefore = performance.now() + retryDelayMs;
        rmSync(newPath(this.#pathOf(index)), { force: true });
      })
      .finally(() => {
        this.#preparing = undefined;
      });
  }

  async #make(index: number): Promise<void> {
    const path = this.#pathOf(index);
    const bytes = segmentBytes[index]!;
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const file = await open(newPath(path), 'w', 0o600);
    try {
      await this.#fill(file, bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    renameSync(newPath(path), path);
    syncDirectory(this.#directory);
    syncDirectory(dirname(this.#directory));
    this.#segments[index] = { path, fd: openSync(path, 'r+'), bytes, last: -1 };
  }

  async #fill(file: FileHandle, bytes: number): Promise<void> {
    for (let at = 0; at < bytes; at += zeros.length) {
      if (this.#isClosed) throw new Error('the journal is being closed');
      const { bytesWritten } = await file.write(zeros, 0, zeros.length, at);
      if (bytesWritten < zeros.length) throw new Error('no space for a segment of the journal');
    }
  }

  #pathOf(index: number): string {
    return join(this.#directory, `segment-${index}`);
  }
}

/** What a segment is called while it is being made. */
function newPath(path: string): string {
  return `${path}.new`;
}

/** Neighbours in memory as one piece. */
function joined(entries: readonly Buffer[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (const entry of entries) {
    const last = pieces[pieces.length - 1];
    if (last && last.buffer === entry.buffer && last.byteOffset + last.length === entry.byteOffset) {
      pieces[pieces.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + entry.length);
    } else pieces.push(entry);
  }
  return pieces;
}

function makeVoid(fd: number, at: number): void {
  writeSync(fd, zeros, 0, recordAlignment, at);
  fdatasyncSync(fd);
}

function syncDirectory(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
