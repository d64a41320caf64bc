interface Entry<Key> {
  readonly time: number;
  readonly key: Key;
}

/** Entries that may have gone stale before they are looked through once more. */
const staleMax = 1024;

/**
 * What is due when: a binary heap. An entry is not taken out when it is over; it is stale as soon as `isValid` says
 * so, and disappears when it comes to the top. Looking at what is due changes nothing.
 */
export class Timers<Key> {
  #heap: Entry<Key>[] = [];
  #sweepAt = staleMax;
  readonly #isValid: (key: Key, time: number) => boolean;

  constructor(isValid: (key: Key, time: number) => boolean) {
    this.#isValid = isValid;
  }

  add(time: number, key: Key): void {
    if (this.#heap.length >= this.#sweepAt) this.#sweep();
    const heap = this.#heap;
    let index = heap.length;
    heap.push({ time, key });
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (heap[parent]!.time <= heap[index]!.time) break;
      this.#exchange(parent, index);
      index = parent;
    }
  }

  /** The earliest time that is still valid. */
  next(): number | undefined {
    while (this.#heap[0] && !this.#isValid(this.#heap[0].key, this.#heap[0].time)) this.#pop();
    return this.#heap[0]?.time;
  }

  /** What is due by then, at most that many. */
  due(now: number, limit: number): Key[] {
    this.next();
    const found: Key[] = [];
    const open = [0];
    for (let index = open.pop(); index !== undefined && found.length < limit; index = open.pop()) {
      const entry = this.#heap[index];
      if (!entry || entry.time > now) continue;
      if (this.#isValid(entry.key, entry.time)) found.push(entry.key);
      open.push(2 * index + 2, 2 * index + 1);
    }
    return found;
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    let index = 0;
    for (;;) {
      let least = index;
      for (const child of [2 * index + 1, 2 * index + 2]) {
        if (child < this.#heap.length && this.#heap[child]!.time < this.#heap[least]!.time) least = child;
      }
      if (least === index) return;
      this.#exchange(least, index);
      index = least;
    }
  }

  #sweep(): void {
    const kept = this.#heap.filter((entry) => this.#isValid(entry.key, entry.time));
    // sorted by time is a heap
    this.#heap = kept.sort((a, b) => a.time - b.time);
    this.#sweepAt = Math.max(staleMax, 2 * kept.length);
  }

  #exchange(a: number, b: number): void {
    const entry = this.#heap[a]!;
    this.#heap[a] = this.#heap[b]!;
    this.#heap[b] = entry;
  }
}
