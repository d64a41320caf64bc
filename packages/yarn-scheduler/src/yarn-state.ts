import { Cluster, type ClusterOptions, type InstanceRecord } from '@cloudos/placement';
import { type EventData, ownerDefault, type RecordedEvent, type SharedEvent } from '@cloudos/sdk';
import { Application } from './application.ts';
import type { YarnConfig } from './config.ts';
import { type ConfiguredData, privateEvents, type ReservationData } from './events.ts';
import { Partitions } from './partitions.ts';
import type { Queue } from './queues/queue.ts';
import { queueFor } from './queues/queue-placement.ts';
import { pathOf, QueueTree, type Quota } from './queues/queue-tree.ts';
import { Waiting } from './waiting.ts';

/** The user of whom nothing else is said. */
export const userDefault = 'nobody';

/** How the shared bookkeeping is set up: one tier (queues tell who comes first), racks as failure domains. */
export function clusterOptions(config: YarnConfig): ClusterOptions {
  return { tiers: 1, tierOf: () => 0, domains: [config.rackAttribute], groupByWorkload: true, notesChanges: true };
}

/** The cluster, the queues over it and the applications in them, as the log tells it. */
export class YarnState {
  /** As configured now: `Configure` replaces it. */
  config: YarnConfig;
  readonly cluster: Cluster;
  tree: QueueTree;
  partitions: Partitions;
  readonly applications = new Map<string, Application>();
  /** Instances for which a node is kept, and its slot. */
  readonly reservations = new Map<InstanceRecord, number>();
  readonly quotas = new Map<string, Quota>();
  readonly stoppedOwners = new Set<string>();
  /** Those that no queue takes, in the order in which they were turned away. */
  readonly turnedAway = new Set<Application>();
  /** Everyone who waits, as a round looks at them. */
  readonly waiting = new Waiting(this);
  /** Applications that were ever submitted. */
  submitted = 0;
  /** When something was preempted for a queue last (epoch ms); -1 before the first time. */
  preemptedAt = -1;
  #stale = true;
  /** The time for which shares were worked out, and when the next quota ends. */
  #sharesFrom = 0;
  #sharesUntil = Number.POSITIVE_INFINITY;
  /** Of the last event, epoch ms. */
  time = 0;

  constructor(config: YarnConfig, cluster = new Cluster(clusterOptions(config))) {
    this.config = config;
    this.cluster = cluster;
    this.tree = new QueueTree(config);
    this.partitions = this.#partition();
  }

  apply(event: SharedEvent): void {
    this.time = Math.max(this.time, event.time);
    switch (event.type) {
      case 'InstanceRequested':
        return this.#request(event);
      case 'InstancePlaced':
      case 'GuestRemoved':
      case 'InstanceWithdrawn':
        return this.#changeInstance(event.data.instance, event);
      case 'InstancePreempted':
        if (event.data.reason !== 'drain' && event.data.by === undefined) this.preemptedAt = event.time;
        return this.cluster.apply(event);
      case 'NodeJoined':
      case 'NodeCapacityChanged':
      case 'NodeLost':
      case 'NodeLeft':
      case 'NodeCordoned':
        return this.#changeNode(event.data.node, event);
      case 'QuotaSet':
      case 'QuotaRemoved':
      case 'OwnerStateChanged':
        this.cluster.apply(event);
        return this.#changeOwner(event);
      default:
        this.#applyPrivate(event as RecordedEvent);
    }
  }

  /**
   * What each queue is guaranteed and may have, worked out again where something it depends on has changed.
   * @param now ends quotas that were set until then (default: the time of the last event)
   * @returns when the next of them ends
   */
  shares(now = this.time): number {
    if (this.#stale || now >= this.#sharesUntil || now < this.#sharesFrom) {
      this.#stale = false;
      this.#sharesFrom = now;
      this.#sharesUntil = Number.POSITIVE_INFINITY;
      const quotas = new Map<string, Quota>();
      for (const [owner, quota] of this.quotas) {
        const until = quota.until ?? Number.POSITIVE_INFINITY;
        if (until <= now) continue;
        quotas.set(owner, quota);
        this.#sharesUntil = Math.min(this.#sharesUntil, until);
      }
      if (this.#sharesUntil === Number.POSITIVE_INFINITY && quotas.size === this.quotas.size) this.#sharesFrom = 0;
      this.tree.recompute(this.partitions.totals, { quotas, stopped: this.stoppedOwners });
    }
    return this.#sharesUntil;
  }

  #applyPrivate(event: RecordedEvent): void {
    const { type, data } = event;
    if (type === privateEvents.reserved) {
      const { instance, node } = data as ReservationData;
      const record = this.cluster.instances.get(instance);
      const slot = this.cluster.nodes.slotOf(node);
      if (record?.phase === 'pending' && slot >= 0) this.reserve(record, slot);
    } else if (type === privateEvents.unreserved) {
      const record = this.cluster.instances.get((data as ReservationData).instance);
      if (record) this.unreserve(record);
    } else if (type === privateEvents.configured) {
      this.config = (data as ConfiguredData).config;
      this.resettle();
    } else {
      this.cluster.apply(event as SharedEvent);
    }
  }

  #request(event: Extract<SharedEvent, { type: 'InstanceRequested' }>): void {
    const { instance, workload } = event.data;
    if (this.cluster.instances.has(instance)) return;
    this.cluster.apply(event);
    const record = this.cluster.instances.get(instance)!;
    let application = this.applications.get(workload);
    if (!application) {
      const { user = userDefault, owner } = event.data;
      application = new Application(workload, user, owner, this.submitted++);
      this.applications.set(workload, application);
      this.admit(application);
    }
    if (application.instances.size === application.placed) application.waitingSince = event.time;
    application.instances.add(record);
  }

  #changeInstance(instance: string, event: SharedEvent): void {
    const record = this.cluster.instances.get(instance);
    if (!record) return this.cluster.apply(event);
    const before = record.slot;
    if (event.type !== 'InstanceWithdrawn' || before < 0) this.unreserve(record);
    this.cluster.apply(event);
    const after = record.slot;
    if (before !== after) {
      const application = this.applications.get(record.workload.name)!;
      if (before >= 0) this.charge(application, record, before, -1);
      if (after >= 0) {
        this.charge(application, record, after, 1);
        application.waitingSince = event.time;
      }
    }
    this.#forgetIfGone(record);
  }

  #changeNode(node: string, event: SharedEvent): void {
    const { nodes } = this.cluster;
    const known = nodes.slotOf(node);
    const before = known < 0 ? [] : [...nodes.facts[known]!.instances];
    if (event.type !== 'NodeJoined' && event.type !== 'NodeCapacityChanged') this.#unreserveOn(known);
    // their partition, and whether they go on, may be another afterwards
    for (const record of before) this.charge(this.applications.get(record.workload.name)!, record, known, -1);
    this.cluster.apply(event);
    const slot = nodes.slotOf(node);
    if (slot >= 0 && this.partitions.refresh(slot)) this.#stale = true;
    for (const record of before) {
      if (record.slot === known) this.charge(this.applications.get(record.workload.name)!, record, known, 1);
      this.#forgetIfGone(record);
    }
  }

  #unreserveOn(slot: number): void {
    for (const [record, reserved] of [...this.reservations]) if (reserved === slot) this.unreserve(record);
  }

  #forgetIfGone(record: InstanceRecord): void {
    if (this.cluster.instances.get(record.id) === record) return;
    this.unreserve(record);
    const application = this.applications.get(record.workload.name)!;
    application.instances.delete(record);
    if (application.instances.size > 0) return;
    this.applications.delete(application.name);
    this.#leave(application);
  }

  /** Counts the request of an instance with its application, user and queues. @param by 1 or -1 */
  charge(application: Application, { shape }: InstanceRecord, slot: number, by: 1 | -1): void {
    const cpu = by * shape.cpu;
    const memory = by * shape.memory;
    if (application.placed === (by === 1 ? 0 : 1) && application.queue) application.queue.running += by;
    application.placed += by;
    application.cpu += cpu;
    application.memory += memory;
    this.chargeQueue(application, this.partitions.of(slot), cpu, memory);
  }

  chargeQueue({ queue, queueUser }: Application, partition: number, cpu: number, memory: number): void {
    if (!queue || !queueUser) return;
    queue.charge(partition, cpu, memory);
    queueUser.used[2 * partition] = queueUser.used[2 * partition]! + cpu;
    queueUser.used[2 * partition + 1] = queueUser.used[2 * partition + 1]! + memory;
  }

  /** Keeps the node for the instance: its request counts as used by the queue, and the node gives it to nobody else. */
  reserve(record: InstanceRecord, slot: number): void {
    this.unreserve(record);
    this.reservations.set(record, slot);
    if (record.group) this.cluster.groups.noteChange(record.group);
    this.cluster.nodes.reserve(slot, record.shape, 1);
    const { cpu, memory } = record.shape;
    this.chargeQueue(this.applications.get(record.workload.name)!, this.partitions.of(slot), cpu, memory);
  }

  unreserve(record: InstanceRecord): void {
    const slot = this.reservations.get(record);
    if (slot === undefined) return;
    this.reservations.delete(record);
    if (record.group) this.cluster.groups.noteChange(record.group);
    this.cluster.nodes.reserve(slot, record.shape, -1);
    const { cpu, memory } = record.shape;
    this.chargeQueue(this.applications.get(record.workload.name)!, this.partitions.of(slot), -cpu, -memory);
  }

  #changeOwner({
    type,
    data,
  }: Extract<SharedEvent, { type: 'QuotaSet' | 'QuotaRemoved' | 'OwnerStateChanged' }>): void {
    if (type === 'OwnerStateChanged') {
      if (data.state === 'stopped') this.stoppedOwners.add(data.owner);
      else this.stoppedOwners.delete(data.owner);
      this.resettle();
    } else if ((data as EventData<'QuotaSet'>).priority === undefined) {
      // a quota for some priorities only, as Borg has them, does not bind a queue: queues have no bands
      if (type === 'QuotaSet') this.#setQuota(data as Quota);
      else this.quotas.delete(data.owner);
      this.#stale = true;
    }
  }

  /** An owner with a quota has a queue of its own, made where no queue stands for it; its applications move there. */
  #setQuota(quota: Quota): void {
    this.quotas.set(quota.owner, quota);
    const path = pathOf(quota.owner);
    if (this.tree.get(path) || !this.tree.make(path)) return;
    for (const application of this.applications.values()) {
      if ((application.owner ?? ownerDefault) === quota.owner) application.queue = undefined;
    }
    this.resettle();
  }

  /** Gives the application a queue, or the reason why none takes it. */
  admit(application: Application): void {
    const found = queueFor(this.tree, this.config, application);
    if (typeof found === 'string') {
      application.rejection = { constraint: 'queue', message: found };
      this.turnedAway.add(application);
      return;
    }
    this.#stale ||= found.dynamic;
    this.shares();
    this.enter(application, found);
    this.#accept(application, found);
  }

  #accept(application: Application, queue: Queue): void {
    application.rejection = this.#refusal(queue);
    if (application.rejection) {
      this.turnedAway.add(application);
    } else {
      this.turnedAway.delete(application);
      queue.applications.add(application);
    }
  }

  enter(application: Application, queue: Queue): void {
    application.queue = queue;
    application.queueUser = queue.user(application.user);
    application.queueUser.applications++;
  }

  #refusal(queue: Queue): Application['rejection'] {
    if (queue.stopped) {
      return { constraint: 'queue stopped', message: `queue ${queue.path} is stopped: it takes no new application` };
    }
    const most = applicationsMax(queue, this.config);
    if (queue.applications.size < most) return undefined;
    const message = `queue ${queue.path} has ${queue.applications.size} applications, at most ${most}`;
    return { constraint: 'maximum applications', message };
  }

  #leave(application: Application): void {
    const { queue, queueUser } = application;
    this.turnedAway.delete(application);
    if (!queue || !queueUser) return;
    queue.applications.delete(application);
    if (--queueUser.applications === 0) queue.users.delete(queueUser.name);
    this.#admitNext(queue);
  }

  /** The oldest application that the queue had no room for comes in when another one has ended. */
  #admitNext(queue: Queue): void {
    for (const application of this.turnedAway) {
      if (application.queue !== queue || application.rejection?.constraint !== 'maximum applications') continue;
      this.shares();
      for (const { group } of application.instances) if (group) this.cluster.groups.noteChange(group);
      return this.#accept(application, queue);
    }
  }

  /** Makes queues and accounts anew, after settings or the state of an owner have changed. */
  resettle(): void {
    const made = [...this.tree.queues].filter(({ dynamic }) => dynamic).map(({ path }) => path);
    this.tree = new QueueTree(this.config);
    this.partitions = this.#partition();
    for (const path of made) this.tree.make(path);
    this.#stale = true;
    this.turnedAway.clear();
    this.waiting.reset();
    for (const application of this.applications.values()) this.#resettle(application);
    for (const [record, slot] of this.reservations) {
      const { cpu, memory } = record.shape;
      this.chargeQueue(this.applications.get(record.workload.name)!, this.partitions.of(slot), cpu, memory);
    }
  }

  #resettle(application: Application): void {
    const { queue: before, rejection } = application;
    application.queue = undefined;
    application.queueUser = undefined;
    application.rejection = undefined;
    const same = before && this.tree.get(before.path);
    Object.assign(application, { placed: 0, cpu: 0, memory: 0 });
    if (same?.isLeaf && !rejection) {
      // what runs in a queue goes on there, stopped or not
      this.enter(application, same);
      same.applications.add(application);
    } else {
      this.admit(application);
    }
    for (const record of application.instances) {
      if (record.slot >= 0) this.charge(application, record, record.slot, 1);
    }
  }

  #partition(): Partitions {
    for (const queue of this.tree.queues) queue.reset(this.tree.labels.length);
    return new Partitions(this.cluster, this.config.nodeLabels.attribute, this.tree.labels);
  }
}

/** `maximum-applications` of the queue; where it does not say, its share of the cluster's, at least one. */
export function applicationsMax(queue: Queue, config: YarnConfig): number {
  return queue.settings.maximumApplications ?? Math.max(1, Math.floor(config.maximumApplications * queue.share[0]!));
}
