/** Blocks that are durable in the journal and not in the database yet, in the order of their positions. */
export class PendingBlocks {
  readonly #values = new Map<number, Buffer>();
  #firsts: number[] = [];
  #dropped = 0;

  /** Position of the first event of the first of them; infinite when there is none. */
  get first(): number {
    return this.#firsts[this.#dropped] ?? Number.POSITIVE_INFINITY;
  }

  /** Adds the block that begins there, after all others. */
  add(first: number, value: Buffer): void {
    this.#firsts.push(first);
    this.#values.set(first, value);
  }

  /** The block that begins there. */
  at(first: number): Buffer | undefined {
    return this.#values.get(first);
  }

  /** First position of the last block that begins at or before a position. */
  floor(position: number): number | undefined {
    let low = this.#dropped;
    let high = this.#firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#firsts[middle]! <= position) low = middle + 1;
      else high = middle;
    }
    return low > this.#dropped ? this.#firsts[low - 1] : undefined;
  }

  /** Drops the blocks that begin at or before a position: the database has them. */
  drop(position: number): void {
    while (this.#dropped < this.#firsts.length && this.#firsts[this.#dropped]! <= position) {
      this.#values.delete(this.#firsts[this.#dropped++]!);
    }
    if (this.#dropped < 1024 && this.#dropped < this.#firsts.length) return;
    this.#firsts = this.#firsts.slice(this.#dropped);
    this.#dropped = 0;
  }

  clear(): void {
    this.#values.clear();
    this.#firsts = [];
    this.#dropped = 0;
  }

  /** First positions of all of them, in order. */
  firsts(): readonly number[] {
    return this.#firsts.slice(this.#dropped);
  }
}
