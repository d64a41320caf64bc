import { statfsSync } from 'node:fs';

/** Free space that is left untouched, so that the database never meets a full disk in the middle of a commit. */
export const reserveBytes = 2 * 1024 * 1024;

/** Tells whether a commit still fits the disk, asking the file system only as often as the answer may have changed. */
export class DiskSpace {
  readonly #directory: string;
  #budget = 0;
  /** Bytes of pages within the database that are free. */
  #inside: number;
  /** What the database will yet write of what is in the journal, in bytes. */
  owed = 0;

  /** @param inside bytes of free pages within the database */
  constructor(directory: string, inside = 0) {
    this.#directory = directory;
    this.#inside = inside;
  }

  /** Pages within the database came free. */
  freed(bytes: number): void {
    this.#inside += bytes;
  }

  /** @param bytes at most what the commit writes */
  fits(bytes: number): boolean {
    if (bytes <= this.#budget) {
      this.#budget -= bytes;
      return true;
    }
    const { bavail, bsize } = statfsSync(this.#directory);
    const free = bavail * bsize - reserveBytes - this.owed * 2;
    if (bytes > free) return this.#fitsInside(bytes);
    // Others fill the disk as well: ask again when a part of it may be gone.
    this.#budget = (free - bytes) / 4;
    return true;
  }

  /** Free pages lie scattered, and a block takes adjacent ones: counts on half of them. */
  #fitsInside(bytes: number): boolean {
    if (bytes * 2 > this.#inside) return false;
    this.#inside -= bytes * 2;
    return true;
  }
}
