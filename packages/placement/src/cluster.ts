import type { EventData, SharedEvent } from '@cloudos/sdk';
import { InstanceRecord } from './instance-record.ts';
import { NodeTable } from './node-table.ts';
import { PendingGroup } from './pending-group.ts';
import { Shapes } from './shape.ts';
import { signatureOf } from './unplaceable.ts';
import { WorkloadRecord } from './workload-record.ts';

export interface ClusterOptions {
  /** How many tiers priorities fall into, and which: usage is summed by tier. */
  readonly tiers: number;
  readonly tierOf: (priority: number) => number;
  /** Attributes that name failure domains. */
  readonly domains: readonly string[];
  /** Whether instances of different workloads never wait in one group. */
  readonly groupByWorkload?: boolean;
}

/**
 * The cluster as the shared events tell it: nodes, what is placed on them, who waits. Every event costs the same
 * however large the cluster is, except for the loss of a node, which costs its instances.
 */
export class Cluster {
  readonly options: ClusterOptions;
  readonly nodes: NodeTable;
  readonly shapes = new Shapes();
  readonly instances = new Map<string, InstanceRecord>();
  readonly workloads = new Map<string, WorkloadRecord>();
  readonly groups = new Map<string, PendingGroup>();
  /** Those for whom others are being preempted. They wait outside of the groups. */
  readonly nominees = new Map<string, InstanceRecord>();
  /** Slots of the nodes that are being drained. */
  readonly draining = new Set<number>();
  /** Requests and placements so far: they seed what looks like chance. */
  requested = 0;
  placements = 0;
  /** Counts events. */
  version = 0;
  /** The version at which the set of nodes, their facts or their states changed last. */
  nodesChangedAt = 0;
  #lastGroup: PendingGroup | undefined;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.nodes = new NodeTable(options.tiers, options.domains);
  }

  /** Takes in an event of the log. Types that do not concern placement are ignored. */
  apply(event: SharedEvent): void {
    this.version++;
    switch (event.type) {
      case 'InstanceRequested':
        return this.#request(event.data);
      case 'InstancePlaced':
        return this.#place(event.data.instance, event.data.node);
      case 'GuestRemoved':
        return this.#guestRemoved(event.data.instance, event.data.node);
      case 'InstanceWithdrawn':
        return this.#withdraw(event.data.instance);
      case 'InstanceUnplaceable':
        return this.#tell(event.data.instance, signatureOf(event.data.reasons));
      case 'InstancePreempted':
        return this.#preempt(event.data);
      case 'WorkloadDeclared':
      case 'WorkloadChanged':
        return this.#declare(event.data.workload, event.data.template.stopGraceMs);
      case 'WorkloadRemoved':
        return this.#removeWorkload(event.data.workload);
      default:
        this.#applyToNode(event);
    }
  }

  #applyToNode(event: SharedEvent): void {
    switch (event.type) {
      case 'NodeJoined':
        return this.#join(event.data);
      case 'NodeCapacityChanged':
        return this.#describe(this.nodes.ensure(event.data.node), event.data);
      case 'NodeLost':
        return this.#lose(event.data.node, 'lost');
      case 'NodeLeft':
        return this.#lose(event.data.node, 'left');
      case 'NodeCordoned':
        return this.#cordon(event.data.node, true, event.data.drain === true);
      case 'NodeUncordoned':
        return this.#cordon(event.data.node, false, false);
      case 'NodeDrained': {
        const facts = this.nodes.facts[this.nodes.slotOf(event.data.node)];
        if (facts) facts.drained = true;
      }
    }
  }

  #join(data: EventData<'NodeJoined'>): void {
    const slot = this.nodes.ensure(data.node);
    this.nodes.facts[slot]!.state = 'ready';
    this.#describe(slot, data);
  }

  #describe(slot: number, data: EventData<'NodeCapacityChanged'> & { attributes?: Record<string, string> }): void {
    const placed = [...this.nodes.facts[slot]!.instances].filter(({ phase }) => phase === 'placed');
    for (const { workload } of placed) workload.count(slot, this.nodes.domains, -1);
    this.nodes.describe(
      slot,
      data.capacity,
      data.runtimes.map(({ name }) => name),
      data.attributes,
    );
    for (const { workload } of placed) workload.count(slot, this.nodes.domains, 1);
    this.shapes.forgetNode(slot);
    this.nodesChangedAt = this.version;
    this.#reviewNominees(slot);
  }

  #lose(node: string, state: 'lost' | 'left'): void {
    const slot = this.nodes.slotOf(node);
    const facts = this.nodes.facts[slot];
    if (!facts) return;
    for (const record of [...facts.instances]) this.#forget(record);
    facts.state = state;
    if (state === 'left') Object.assign(facts, { cordoned: false, draining: false, drained: false });
    if (!facts.draining) this.draining.delete(slot);
    this.#requeueNominees(slot);
    this.nodes.refresh(slot);
    this.nodesChangedAt = this.version;
  }

  #cordon(node: string, cordoned: boolean, drain: boolean): void {
    const slot = this.nodes.slotOf(node);
    const facts = this.nodes.facts[slot];
    if (!facts) return;
    facts.cordoned = cordoned;
    if (drain || !cordoned) {
      facts.draining = drain;
      facts.drained = false;
    }
    if (facts.draining) this.draining.add(slot);
    else this.draining.delete(slot);
    if (cordoned) this.#requeueNominees(slot);
    this.nodes.refresh(slot);
    this.nodesChangedAt = this.version;
  }

  #workload(name: string): WorkloadRecord {
    let workload = this.workloads.get(name);
    if (!workload) {
      workload = new WorkloadRecord(name);
      this.workloads.set(name, workload);
    }
    return workload;
  }

  #declare(name: string, graceMs: number): void {
    const workload = this.#workload(name);
    workload.graceMs = graceMs;
    workload.removed = false;
  }

  /** What a snapshot says about a workload. */
  restoreWorkload(name: string, removed: boolean, graceMs: number | undefined): void {
    Object.assign(this.#workload(name), { removed, graceMs });
  }

  #removeWorkload(name: string): void {
    const workload = this.#workload(name);
    workload.removed = true;
    if (workload.instances === 0) this.workloads.delete(name);
  }

  #request(data: EventData<'InstanceRequested'>): void {
    if (this.instances.has(data.instance)) return;
    this.enqueue(this.admit(data.instance, data.workload, data, data.priority, this.requested));
  }

  /** A new record, known but in no queue and on no node yet. */
  admit(
    id: string,
    workloadName: string,
    demand: Parameters<Shapes['hold']>[0],
    priority: number,
    order: number,
  ): InstanceRecord {
    const workload = this.#workload(workloadName);
    const shape = this.shapes.hold(demand, workload.lastShape);
    workload.lastShape = shape;
    workload.instances++;
    const record = new InstanceRecord(id, order, workload, shape, priority, this.options.tierOf(priority));
    this.instances.set(id, record);
    this.requested = Math.max(this.requested, order + 1);
    return record;
  }

  /** Puts the record in line with those of its shape and priority, at the place that its order gives it. */
  enqueue(record: InstanceRecord): void {
    let group = this.#lastGroup;
    const own = this.options.groupByWorkload === true;
    if (
      group?.shape !== record.shape ||
      group.priority !== record.priority ||
      group.live === 0 ||
      (own && group.items[group.head]?.workload !== record.workload)
    ) {
      const key = `${record.priority} ${record.shape.key}${own ? ` ${record.workload.name}` : ''}`;
      group = this.groups.get(key);
      if (!group) {
        group = new PendingGroup(key, record.shape, record.priority);
        this.groups.set(key, group);
      }
      this.#lastGroup = group;
    }
    group.add(record);
  }

  #dequeue(record: InstanceRecord): void {
    const { group } = record;
    if (!group) return;
    group.remove(record);
    if (group.live === 0) this.groups.delete(group.key);
  }

  #place(instance: string, node: string): void {
    const record = this.instances.get(instance);
    if (!record) return;
    this.placements++;
    this.#dequeue(record);
    this.#endNomination(record);
    if (record.slot >= 0) this.#release(record);
    const slot = this.nodes.slotOf(node);
    if (slot < 0 || this.nodes.facts[slot]!.state !== 'ready') return this.#forget(record);
    this.settle(record, slot);
    this.#reviewNominees(slot);
  }

  /** The record is on that node from now on. */
  settle(record: InstanceRecord, slot: number): void {
    record.phase = 'placed';
    record.slot = slot;
    this.nodes.facts[slot]!.instances.add(record);
    this.nodes.take(slot, record.shape, record.tier);
    record.workload.count(slot, this.nodes.domains, 1);
  }

  #withdraw(instance: string): void {
    const record = this.instances.get(instance);
    if (!record) return;
    if (record.phase === 'pending') this.#forget(record);
    else this.leave(record);
  }

  /** The record will give its place up: it keeps the resources and does not count for spreading any more. */
  leave(record: InstanceRecord): void {
    if (record.phase !== 'placed') return;
    record.phase = 'leaving';
    this.nodes.facts[record.slot]!.leaving++;
    this.nodes.leave(record.slot, record.shape, 1);
    record.workload.count(record.slot, this.nodes.domains, -1);
  }

  #preempt({ instance, by, node }: EventData<'InstancePreempted'>): void {
    const victim = this.instances.get(instance);
    if (victim) this.leave(victim);
    const record = by === undefined ? undefined : this.instances.get(by);
    const slot = this.nodes.slotOf(node);
    if (record?.phase === 'pending' && slot >= 0) this.nominate(record, slot);
  }

  /** Others are being preempted on that node for the record. */
  nominate(record: InstanceRecord, slot: number): void {
    if (record.nominated === slot) return;
    this.#dequeue(record);
    this.#endNomination(record);
    record.nominated = slot;
    this.nominees.set(record.id, record);
    this.nodes.reserve(slot, record.shape, 1);
  }

  #endNomination(record: InstanceRecord): void {
    if (record.nominated < 0) return;
    this.nodes.reserve(record.nominated, record.shape, -1);
    record.nominated = -1;
    this.nominees.delete(record.id);
  }

  /** Those for whom there is no room though everyone who was to leave is gone wait like others again. */
  #reviewNominees(slot: number): void {
    if (this.nominees.size === 0 || this.nodes.facts[slot]!.leaving > 0) return;
    this.#requeueNominees(slot, (record) => !this.nodes.fitsReserved(slot, record.shape));
  }

  #requeueNominees(slot: number, which: (record: InstanceRecord) => boolean = () => true): void {
    for (const record of [...this.nominees.values()]) {
      if (record.nominated !== slot || !which(record)) continue;
      this.#endNomination(record);
      this.enqueue(record);
    }
  }

  #tell(instance: string, signature: string): void {
    const record = this.instances.get(instance);
    if (!record) return;
    if (record.group) record.group.tell(record, signature, this.version);
    else record.told = signature;
  }

  #guestRemoved(instance: string, node: string): void {
    const record = this.instances.get(instance);
    if (!record || record.slot < 0 || this.nodes.facts[record.slot]!.id !== node) return;
    const { slot } = record;
    this.#forget(record);
    this.#reviewNominees(slot);
  }

  #release(record: InstanceRecord): void {
    const { slot } = record;
    const facts = this.nodes.facts[slot]!;
    facts.instances.delete(record);
    this.nodes.give(slot, record.shape, record.tier);
    if (record.phase === 'leaving') {
      facts.leaving--;
      this.nodes.leave(slot, record.shape, -1);
    } else {
      record.workload.count(slot, this.nodes.domains, -1);
    }
    record.slot = -1;
  }

  #forget(record: InstanceRecord): void {
    this.#dequeue(record);
    this.#endNomination(record);
    if (record.slot >= 0) this.#release(record);
    this.instances.delete(record.id);
    this.shapes.release(record.shape);
    const { workload } = record;
    if (--workload.instances === 0 && (workload.removed || workload.graceMs === undefined)) {
      this.workloads.delete(workload.name);
    }
  }
}
