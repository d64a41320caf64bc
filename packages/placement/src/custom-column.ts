/** How much of one named custom resource each node has, by slot. The same sums as those of the named resources. */
export class CustomColumn {
  #capacity: Float64Array;
  #used: Float64Array;
  #leaving: Float64Array;
  #reserved: Float64Array;

  constructor(slots: number) {
    this.#capacity = new Float64Array(slots);
    this.#used = new Float64Array(slots);
    this.#leaving = new Float64Array(slots);
    this.#reserved = new Float64Array(slots);
  }

  grow(slots: number): void {
    this.#capacity = larger(this.#capacity, slots);
    this.#used = larger(this.#used, slots);
    this.#leaving = larger(this.#leaving, slots);
    this.#reserved = larger(this.#reserved, slots);
  }

  capacityOf(slot: number): number {
    return this.#capacity[slot]!;
  }

  /** Capacity less what is used. */
  leftOf(slot: number): number {
    return this.#capacity[slot]! - this.#used[slot]!;
  }

  leavingOf(slot: number): number {
    return this.#leaving[slot]!;
  }

  reservedOf(slot: number): number {
    return this.#reserved[slot]!;
  }

  /** What may be placed: less what is reserved beyond that which is leaving. */
  freeOf(slot: number): number {
    return this.leftOf(slot) - Math.max(0, this.#reserved[slot]! - this.#leaving[slot]!);
  }

  setCapacity(slot: number, amount: number): void {
    this.#capacity[slot] = amount;
  }

  use(slot: number, amount: number): void {
    this.#used[slot] = this.#used[slot]! + amount;
  }

  leave(slot: number, amount: number): void {
    this.#leaving[slot] = this.#leaving[slot]! + amount;
  }

  reserve(slot: number, amount: number): void {
    this.#reserved[slot] = this.#reserved[slot]! + amount;
  }
}

function larger(from: Float64Array, slots: number): Float64Array {
  const to = new Float64Array(slots);
  to.set(from);
  return to;
}
