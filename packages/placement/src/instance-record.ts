import type { Kin } from './kin.ts';
import type { PendingGroup } from './pending-group.ts';
import type { Shape } from './shape.ts';
import type { WorkloadRecord } from './workload-record.ts';

/** Waits for a place; has one; has one that it will lose or leave. */
export type Phase = 'pending' | 'placed' | 'leaving';

/** An instance as a resource manager sees it, from InstanceRequested to GuestRemoved. */
export class InstanceRecord {
  readonly id: string;
  /** Counts requests: the smaller, the longer it has been there. */
  readonly order: number;
  readonly kin: Kin;
  readonly shape: Shape;
  readonly priority: number;
  readonly tier: number;
  phase: Phase = 'pending';
  /** Slot of its node; -1 while it has none. */
  slot = -1;
  /** Slot of the node where others are being preempted for it; -1 if nowhere. */
  nominated = -1;
  /** Where it waits, while it is in a queue. */
  group: PendingGroup | undefined;
  /** Signature of the reasons that were last recorded for it. */
  told = '';
  /** Its neighbours among those on its node. */
  before: InstanceRecord | undefined;
  after: InstanceRecord | undefined;
  /** Of what it asked for, what it is not expected to need; 0 while nothing is known. */
  idleCpu = 0;
  idleMemory = 0;

  constructor(id: string, order: number, kin: Kin, shape: Shape, priority: number, tier: number) {
    this.id = id;
    this.order = order;
    this.kin = kin;
    this.shape = shape;
    this.priority = priority;
    this.tier = tier;
  }

  get workload(): WorkloadRecord {
    return this.kin.workload;
  }
}
