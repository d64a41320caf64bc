/** What is due later, the earliest first; what is due at the same time in the order in which it was added. */
export class Agenda<T> {
  readonly #heap: { readonly at: number; readonly order: number; readonly what: T }[] = [];
  #added = 0;

  get dueAt(): number | undefined {
    return this.#heap[0]?.at;
  }

  add(at: number, what: T): void {
    const heap = this.#heap;
    const entry = { at, order: this.#added++, what };
    let index = heap.push(entry) - 1;
    while (index > 0 && before(entry, heap[(index - 1) >> 1]!)) {
      heap[index] = heap[(index - 1) >> 1]!;
      index = (index - 1) >> 1;
    }
    heap[index] = entry;
  }

  /** Takes out the earliest that is due by then. */
  take(now: number): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (!first || first.at > now) return undefined;
    const last = heap.pop()!;
    if (heap.length > 0) this.#sink(last);
    return first.what;
  }

  #sink(entry: { readonly at: number; readonly order: number; readonly what: T }): void {
    const heap = this.#heap;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, entry)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = entry;
  }
}

interface Timed {
  readonly at: number;
  readonly order: number;
}

function before(one: Timed, other: Timed): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
