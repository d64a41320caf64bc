import type { InstanceRecord } from './instance-record.ts';
import type { Profile } from './profile.ts';
import type { Shape } from './shape.ts';

/** Entries at the front that may be dead before the list is cut. */
const deadMax = 1_024;

/** Instances of one shape and priority that wait for a place, first come first. */
export class PendingGroup {
  readonly key: string;
  readonly shape: Shape;
  readonly priority: number;
  readonly profile: Profile;
  /** In order of request. Entries that do not wait any more stay until they reach the front. */
  readonly items: InstanceRecord[] = [];
  /** Index of the first entry that waits. */
  head = 0;
  live = 0;
  /** Signature of the reasons recorded last for one of the group. */
  signature = '';
  /** Version of the cluster when one of the group was told last. */
  toldAt = -1;
  /** Every waiting entry before this index was told that signature. */
  toldUntil = 0;

  constructor(key: string, shape: Shape, priority: number, profile: Profile) {
    this.key = key;
    this.shape = shape;
    this.priority = priority;
    this.profile = profile;
  }

  waits(at: number): boolean {
    return this.items[at]?.group === this;
  }

  add(record: InstanceRecord): void {
    record.group = this;
    this.live++;
    const last = this.items.at(-1);
    if (!last || last.order < record.order) {
      this.items.push(record);
      return;
    }
    const at = this.#indexOf(record.order);
    if (this.items[at] !== record) this.items.splice(at, 0, record);
    this.head = Math.min(this.head, at);
    this.toldUntil = Math.min(this.toldUntil, at);
  }

  remove(record: InstanceRecord): void {
    record.group = undefined;
    this.live--;
    while (this.head < this.items.length && !this.waits(this.head)) this.head++;
    if (this.head > deadMax && this.head * 2 > this.items.length) {
      this.items.splice(0, this.head);
      this.toldUntil = Math.max(0, this.toldUntil - this.head);
      this.head = 0;
    }
  }

  /** The record was told those reasons. */
  tell(record: InstanceRecord, signature: string, version: number): void {
    record.told = signature;
    this.toldAt = version;
    if (signature !== this.signature) {
      this.signature = signature;
      this.toldUntil = this.head;
    }
    this.#advance();
  }

  /** What a snapshot says about it. */
  restore(signature: string, toldAt: number): void {
    this.signature = signature;
    this.toldAt = toldAt;
    this.toldUntil = this.head;
    this.#advance();
  }

  #advance(): void {
    while (this.toldUntil < this.items.length) {
      if (this.waits(this.toldUntil) && this.items[this.toldUntil]!.told !== this.signature) break;
      this.toldUntil++;
    }
  }

  /** Whether every waiting entry was told that signature. */
  toldAll(signature: string): boolean {
    return signature === this.signature && this.toldUntil >= this.items.length;
  }

  #indexOf(order: number): number {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle]!.order < order) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
