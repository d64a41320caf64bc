import type { InstanceRecord } from './instance-record.ts';
import { PendingGroup } from './pending-group.ts';

/** The groups in which instances wait, by key: those of one shape, priority and profile in each. */
export class PendingGroups extends Map<string, PendingGroup> {
  readonly #byWorkload: boolean;
  readonly #notes: boolean;
  /** Groups of which somebody came, went or was told something since whoever is interested has emptied it. */
  readonly changed = new Set<PendingGroup>();
  #last: PendingGroup | undefined;

  /**
   * @param byWorkload whether instances of different workloads never wait in one group
   * @param notes whether changes are noted: somebody must empty {@link changed}
   */
  constructor(byWorkload: boolean, notes = false) {
    super();
    this.#byWorkload = byWorkload;
    this.#notes = notes;
  }

  /** Puts the record in line with its like, at the place that its order gives it. */
  enqueue(record: InstanceRecord): void {
    if (!this.#last || !this.#isOf(this.#last, record)) this.#last = this.#groupOf(record);
    this.#last.add(record);
    this.noteChange(this.#last);
  }

  dequeue(record: InstanceRecord): void {
    const { group } = record;
    if (!group) return;
    group.remove(record);
    this.noteChange(group);
    if (group.live === 0) this.delete(group.key);
  }

  /** The record, which waits in that group, was told those reasons. */
  tell(group: PendingGroup, record: InstanceRecord, signature: string, version: number): void {
    group.tell(record, signature, version);
    this.noteChange(group);
  }

  noteChange(group: PendingGroup): void {
    if (this.#notes) this.changed.add(group);
  }

  #isOf(group: PendingGroup, { shape, priority, kin }: InstanceRecord): boolean {
    return (
      group.live > 0 &&
      group.shape === shape &&
      group.priority === priority &&
      group.profile === kin.profile &&
      !(this.#byWorkload && group.items[group.head]?.workload !== kin.workload)
    );
  }

  #groupOf({ shape, priority, kin }: InstanceRecord): PendingGroup {
    const { profile, workload } = kin;
    const key = `${priority} ${shape.key} ${profile.key}${this.#byWorkload ? ` ${workload.name}` : ''}`;
    let group = this.get(key);
    if (!group) {
      group = new PendingGroup(key, shape, priority, profile);
      this.set(key, group);
    }
    return group;
  }
}
