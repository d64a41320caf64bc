import type { InstanceRecord, PendingGroup } from '@cloudos/placement';
import type { Queue, QueueUser } from './queues/queue.ts';

/**
 * A workload of an orchestrator: an application, from its first requested instance to the end of its last. Its user
 * and queue are those of the first request.
 */
export class Application {
  readonly name: string;
  readonly user: string;
  readonly owner: string | undefined;
  /** Counts applications: the smaller, the earlier it was submitted. */
  readonly order: number;
  /** Undefined while no queue takes it; see {@link rejection}. */
  queue: Queue | undefined;
  queueUser: QueueUser | undefined;
  /** Why no queue takes it, in words. */
  rejection: { readonly constraint: string; readonly message: string } | undefined;
  /** Those that are known, pending ones included, in the order of requests. */
  readonly instances = new Set<InstanceRecord>();
  /** Those that have a place. */
  placed = 0;
  /** What those use, over all partitions. */
  cpu = 0;
  memory = 0;
  /** Since when it waits: its last placement, or its first request after a time without any (epoch ms). */
  waitingSince = 0;
  /** During a round: where its instances wait. */
  readonly groups: PendingGroup[] = [];

  constructor(name: string, user: string, owner: string | undefined, order: number) {
    this.name = name;
    this.user = user;
    this.owner = owner;
    this.order = order;
  }

  /** The oldest instance: the one that is its application master where instances are. */
  get master(): InstanceRecord | undefined {
    for (const record of this.instances) return record;
    return undefined;
  }
}
