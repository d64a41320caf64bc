/** One operation at a time on each zone, in the order of the calls. */
export class InstanceLocks {
  readonly #tails = new Map<string, Promise<unknown>>();

  async run<T>(zone: string, operation: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(zone) ?? Promise.resolve();
    const result = before.then(operation);
    const tail = result.catch(() => {});
    this.#tails.set(zone, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(zone) === tail) this.#tails.delete(zone);
    }
  }
}
