import { statfsSync } from 'node:fs';

/** Free space that is left untouched, so that the database never meets a full disk in the middle of a commit. */
export const reserveBytes = 2 * 1024 * 1024;

/** Tells whether a commit still fits the disk, asking the file system only as often as the answer may have changed. */
export class DiskSpace {
  readonly #directory: string;
  #budget = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** @param bytes at most what the commit writes */
  fits(bytes: number): boolean {
    if (bytes <= this.#budget) {
      this.#budget -= bytes;
      return true;
    }
    const { bavail, bsize } = statfsSync(this.#directory);
    const free = bavail * bsize - reserveBytes;
    if (bytes > free) return false;
    // Others fill the disk as well: ask again when a part of it may be gone.
    this.#budget = (free - bytes) / 4;
    return true;
  }
}
