/**
 * Lets each caller go on in a turn of the event loop of its own, in the order of the calls: many that are asked at once and
 * work without a pause do not hold up what else the process has to do.
 */
export class LoopTurns {
  #last: Promise<void> = Promise.resolve();

  next(): Promise<void> {
    this.#last = this.#last.then(() => new Promise((resolve) => setImmediate(resolve)));
    return this.#last;
  }
}
