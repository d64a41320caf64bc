/** Lets at most that many callers in at once; the others wait in order, as many as there are: who calls it bounds that. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(permits: number) {
    this.#free = permits;
  }

  /** Takes a permit: at once, or when the promise resolves. Whoever has it must {@link leave}. */
  enter(): Promise<void> | undefined {
    if (this.#free <= 0) return new Promise<void>((enter) => this.#waiting.push(enter));
    this.#free--;
    return undefined;
  }

  /** Gives a permit back: to the next who waits for one. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.enter();
    if (turn) await turn;
    try {
      return await work();
    } finally {
      this.leave();
    }
  }
}
