/** Bytes set aside for the blocks of one commit; what does not fit is allocated by itself. */
const bytesAtOnce = 1024 * 1024;

/**
 * Memory for encoded blocks. The database writes them straight from here, on another thread, so it may be used again
 * only when the commit is over.
 */
export class BlockSpace {
  readonly #buffer = Buffer.allocUnsafeSlow(bytesAtOnce);
  #used = 0;

  take(bytes: number): Buffer {
    const start = this.#used;
    if (start + bytes > bytesAtOnce) return Buffer.allocUnsafeSlow(bytes);
    this.#used = (start + bytes + 7) & ~7;
    return this.#buffer.subarray(start, start + bytes);
  }

  /** Everything in it is free again. */
  reset(): void {
    this.#used = 0;
  }
}
