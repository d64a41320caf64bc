import type { InstanceRecord } from './instance-record.ts';
import { PendingGroup } from './pending-group.ts';

/** The groups in which instances wait, by key: those of one shape, priority and profile in each. */
export class PendingGroups extends Map<string, PendingGroup> {
  readonly #byWorkload: boolean;
  #last: PendingGroup | undefined;

  /** @param byWorkload whether instances of different workloads never wait in one group */
  constructor(byWorkload: boolean) {
    super();
    this.#byWorkload = byWorkload;
  }

  /** Puts the record in line with its like, at the place that its order gives it. */
  enqueue(record: InstanceRecord): void {
    if (!this.#last || !this.#isOf(this.#last, record)) this.#last = this.#groupOf(record);
    this.#last.add(record);
  }

  dequeue(record: InstanceRecord): void {
    const { group } = record;
    if (!group) return;
    group.remove(record);
    if (group.live === 0) this.delete(group.key);
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
