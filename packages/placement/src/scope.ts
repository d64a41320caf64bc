/**
 * What groups nodes into domains: one attribute, its values numbered as they come. For the scope `node` each node is
 * a domain of its own.
 */
export class Scope {
  readonly attribute: string;
  /** By slot: the number of the node's value, -1 where it has none. */
  values = new Int32Array(0);
  readonly #numbers = new Map<string, number>();

  constructor(attribute: string) {
    this.attribute = attribute;
  }

  /** How many values have been seen. */
  get size(): number {
    return this.#numbers.size;
  }

  grow(slots: number): void {
    const values = new Int32Array(slots).fill(-1);
    values.set(this.values);
    this.values = values;
  }

  /** The node has that value from now on; none where it is undefined. */
  describe(slot: number, value: string | undefined): void {
    let number = value === undefined ? -1 : this.#numbers.get(value);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(value!, number);
    }
    this.values[slot] = number;
  }
}
