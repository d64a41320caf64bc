import type { InstanceRecord } from './instance-record.ts';
import type { PendingGroup } from './pending-group.ts';

interface Cursor {
  readonly group: PendingGroup;
  at: number;
  order: number;
}

/** Goes through groups as if they were one queue: by priority, first come first within it. Changes nothing. */
export class PendingWalk {
  readonly #heap: Cursor[] = [];

  add(group: PendingGroup): void {
    const cursor: Cursor = { group, at: group.head, order: 0 };
    if (!settle(cursor)) return;
    const heap = this.#heap;
    let at = heap.push(cursor) - 1;
    while (at > 0 && before(cursor, heap[(at - 1) >> 1]!)) {
      heap[at] = heap[(at - 1) >> 1]!;
      at = (at - 1) >> 1;
    }
    heap[at] = cursor;
  }

  /** Who is next, undefined at the end. */
  current(): InstanceRecord | undefined {
    const cursor = this.#heap[0];
    return cursor?.group.items[cursor.at];
  }

  advance(): void {
    const cursor = this.#heap[0]!;
    cursor.at++;
    if (settle(cursor)) this.#sink(cursor);
    else this.drop();
  }

  /** Leaves out the rest of the group that is next. Returns it and where its rest begins. */
  drop(): { group: PendingGroup; at: number } {
    const { group, at } = this.#heap[0]!;
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) this.#sink(last);
    return { group, at };
  }

  #sink(cursor: Cursor): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, cursor)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = cursor;
  }
}

/** Moves on to the first entry that waits. False at the end. */
function settle(cursor: Cursor): boolean {
  const { group } = cursor;
  while (cursor.at < group.items.length && !group.waits(cursor.at)) cursor.at++;
  const record = group.items[cursor.at];
  if (!record) return false;
  cursor.order = record.order;
  return true;
}

function before(one: Cursor, other: Cursor): boolean {
  return (
    one.group.priority > other.group.priority ||
    (one.group.priority === other.group.priority && one.order < other.order)
  );
}
