/** Up to so many nodes they are looked through one by one: quicker than hashing, and smaller. */
const listMax = 24;

/** How many of something are on each node: small numbers on few nodes mostly, so a list that becomes a map when it has to. */
export class SlotCounts {
  #slots: number[] = [];
  #counts: number[] = [];
  #map: Map<number, number> | undefined;

  get(slot: number): number {
    if (this.#map) return this.#map.get(slot) ?? 0;
    const at = this.#slots.indexOf(slot);
    return at < 0 ? 0 : this.#counts[at]!;
  }

  /** @param by how many come, or go where it is negative. A node with none takes no memory. */
  add(slot: number, by: number): void {
    if (this.#map) {
      const count = (this.#map.get(slot) ?? 0) + by;
      if (count > 0) this.#map.set(slot, count);
      else this.#map.delete(slot);
      return;
    }
    const at = this.#slots.indexOf(slot);
    if (at < 0) {
      if (by > 0) this.#append(slot, by);
      return;
    }
    const count = this.#counts[at]! + by;
    if (count > 0) {
      this.#counts[at] = count;
      return;
    }
    const slots = this.#slots.pop()!;
    const counts = this.#counts.pop()!;
    if (at === this.#slots.length) return;
    this.#slots[at] = slots;
    this.#counts[at] = counts;
  }

  #append(slot: number, count: number): void {
    if (this.#slots.length < listMax) {
      this.#slots.push(slot);
      this.#counts.push(count);
      return;
    }
    this.#map = new Map(this.#slots.map((each, at) => [each, this.#counts[at]!]));
    this.#map.set(slot, count);
    this.#slots = [];
    this.#counts = [];
  }
}
