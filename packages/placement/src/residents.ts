import type { InstanceRecord } from './instance-record.ts';

/** The instances on one node, in the order in which they came: a list that runs through the records themselves. */
export class Residents {
  size = 0;
  #first: InstanceRecord | undefined;
  #last: InstanceRecord | undefined;

  add(record: InstanceRecord): void {
    record.before = this.#last;
    record.after = undefined;
    if (this.#last) this.#last.after = record;
    else this.#first = record;
    this.#last = record;
    this.size++;
  }

  /** The record must be one of them. */
  delete(record: InstanceRecord): void {
    const { before, after } = record;
    if (before) before.after = after;
    else this.#first = after;
    if (after) after.before = before;
    else this.#last = before;
    record.before = undefined;
    record.after = undefined;
    this.size--;
  }

  *[Symbol.iterator](): Generator<InstanceRecord> {
    for (let record = this.#first; record; ) {
      // asked for first: the record may be taken out meanwhile
      const { after } = record;
      yield record;
      record = after;
    }
  }
}
