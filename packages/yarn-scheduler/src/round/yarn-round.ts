import {
  decideMaintenance,
  type InstanceRecord,
  maintenanceNoticeDefaultMs,
  type PendingGroup,
  type Shape,
} from '@cloudos/placement';
import { type Decision, event, type NewEvent } from '@cloudos/sdk';
import type { Application } from '../application.ts';
import { nodeReserved } from '../events.ts';
import type { Queue } from '../queues/queue.ts';
import type { YarnState } from '../yarn-state.ts';
import { Activation, type Obstacle } from './activation.ts';
import { Explanations } from './explanations.ts';
import { Limits } from './limit-checks.ts';
import { NodeChoice } from './node-choice.ts';
import { choosePreemptions } from './preemption.ts';
import { QueueTurn, type TurnContext } from './queue-turn.ts';
import { chooseReserved } from './reservation.ts';

/**
 * One `react`: moves instances off draining nodes, serves those for whom nodes are kept, then lets queues and
 * applications take turns until nobody can go on, and at last sees whether queues are to give back what others are
 * guaranteed. Decisions are tried out on the state, so that each sees those before it, and taken back at the end.
 */
export function decideYarn(state: YarnState, now: number): Decision {
  const { cluster, reservations } = state;
  const due = decideMaintenance(cluster, maintenanceNoticeDefaultMs, now);
  // what they change is taken in before anything else is decided
  if (due.events.length > 0) return { events: due.events, wakeAt: now };
  const waking = due.wakeAt === undefined ? {} : { wakeAt: due.wakeAt };
  if (cluster.groups.size === 0 && reservations.size === 0 && cluster.draining.size === 0) {
    return { events: [], ...waking };
  }
  const quotaEnds = state.shares(now);
  const round = new YarnRound(state, now);
  try {
    round.run();
  } finally {
    round.takeBack();
  }
  const wakeAt = round.exhausted ? now : Math.min(round.wakeAt ?? never, due.wakeAt ?? never, quotaEnds);
  return { events: round.events, ...(wakeAt === never ? {} : { wakeAt }) };
}

const never = Number.POSITIVE_INFINITY;

/** Instances that found no node though their queue would have let them: how many, and of what. */
export interface Starving {
  readonly queue: Queue;
  readonly partition: number;
  readonly record: InstanceRecord;
  readonly count: number;
}

class YarnRound {
  readonly events: NewEvent[] = [];
  exhausted = false;
  /** When something is due that does not follow from an event. */
  wakeAt: number | undefined;
  readonly #state: YarnState;
  readonly #now: number;
  readonly #nodes: NodeChoice;
  readonly #limits: Limits;
  readonly #explanations: Explanations;
  readonly #turns = new Map<Queue, QueueTurn>();
  readonly #waiting: Application[] = [];
  readonly #starving: Starving[] = [];
  readonly #placed: InstanceRecord[] = [];
  readonly #slots: number[] = [];
  readonly #freed: (readonly [record: InstanceRecord, slot: number])[] = [];
  readonly #reserved: (readonly [record: InstanceRecord, slot: number])[] = [];
  readonly #victims = new Set<InstanceRecord>();
  /** Served out of turn. They are in their groups still. */
  readonly #served = new Set<InstanceRecord>();
  /** Shapes for which no node was found that could ever be kept. */
  readonly #neverLarge = new Set<Shape>();
  readonly #context: TurnContext;

  constructor(state: YarnState, now: number) {
    this.#state = state;
    this.#now = now;
    this.#nodes = new NodeChoice(state, now);
    this.#limits = new Limits(state);
    this.#explanations = new Explanations(state, this.#limits, this.#nodes);
    this.#context = contextOf(state);
  }

  run(): void {
    this.#drain();
    this.#serveReserved();
    this.#gather();
    this.#takeTurns();
    if (!this.exhausted) this.#preempt();
  }

  takeBack(): void {
    const { cluster, applications } = this.#state;
    const { nodes } = cluster;
    for (let at = this.#placed.length - 1; at >= 0; at--) {
      const record = this.#placed[at]!;
      const slot = this.#slots[at]!;
      cluster.vacate(record, slot);
      this.#state.charge(applications.get(record.workload.name)!, record, slot, -1);
    }
    for (const [record] of this.#reserved) this.#state.unreserve(record);
    for (const [record, slot] of this.#freed) this.#state.reserve(record, slot);
    for (const victim of this.#victims) nodes.leave(victim.slot, victim.shape, -1);
    for (const application of this.#waiting) application.groups.length = 0;
  }

  get #full(): boolean {
    if (this.events.length >= this.#state.config.decisionsMax) this.exhausted = true;
    return this.exhausted;
  }

  #drain(): void {
    const { cluster } = this.#state;
    for (const slot of cluster.draining) {
      const facts = cluster.nodes.facts[slot]!;
      if (facts.state !== 'ready' || facts.drained) continue;
      if (facts.instances.size === 0) this.events.push(event('NodeDrained', { node: facts.id }));
      const leaving = [...facts.instances].filter(({ phase }) => phase === 'placed');
      for (const record of leaving.sort((one, other) => one.order - other.order)) {
        if (this.#full) return;
        this.#evict(record, 'drain', record.workload.graceMs ?? this.#state.config.preemption.maxWaitBeforeKillMs);
      }
    }
  }

  /** Those for whom a node is kept get it as soon as they fit. */
  #serveReserved(): void {
    const { nodes } = this.#state.cluster;
    for (const [record, slot] of [...this.#state.reservations]) {
      if (this.#full) return;
      if (record.phase !== 'pending' || !nodes.fitsReserved(slot, record.shape)) continue;
      if (!this.#state.cluster.companyAllows(record, slot)) continue;
      this.#place(record, slot);
      this.#served.add(record);
    }
  }

  /** Everyone who waits, by application, by queue. Applications that may not run are told so. */
  #gather(): void {
    const { cluster, applications, config, partitions, tree } = this.#state;
    const labelled = tree.labels.length > 1;
    for (const group of cluster.groups.values()) {
      const application = applications.get(group.items[group.head]!.workload.name)!;
      if (application.groups.push(group) === 1) this.#waiting.push(application);
      if (labelled && application.queue)
        this.#nodes.expect(this.#limits.partitionOf(group.shape, application.queue), group.live);
    }
    this.#waiting.sort((one, other) => one.order - other.order);
    const activation = new Activation(config, partitions.totals);
    for (const application of this.#waiting) {
      const obstacle = activation.obstacle(application);
      if (obstacle) {
        for (const group of application.groups) this.#explain(group, group.head, obstacle);
      } else {
        this.#limits.activate(application);
        this.#passOver(application);
        if (application.groups.length > 0) this.#turn(application.queue!).addApplication(application);
      }
    }
    for (const turn of this.#turns.values()) turn.parent?.children.add(turn);
  }

  /**
   * Leaves out the groups that no node can take and that were told so: nodes only become fuller in a round. What is
   * full stays so for long, and then most of those who wait are such.
   */
  #passOver(application: Application): void {
    const { groups } = application;
    const queue = application.queue!;
    let kept = 0;
    for (const group of groups) {
      const partition = this.#limits.partitionOf(group.shape, queue);
      const record = group.items[group.head]!;
      if (
        this.#served.has(record) ||
        !this.#explanations.knownOfNodes(group) ||
        !this.#nodes.hopeless(record, partition)
      ) {
        groups[kept++] = group;
        continue;
      }
      this.#starving.push({ queue, partition, record, count: group.live });
      this.#reserveFor(record, application, partition);
    }
    groups.length = kept;
  }

  #turn(queue: Queue): QueueTurn {
    let turn = this.#turns.get(queue);
    if (!turn) {
      const parent = queue.parent && this.#turn(queue.parent);
      turn = new QueueTurn(queue, parent, this.#context);
      this.#turns.set(queue, turn);
    }
    return turn;
  }

  #takeTurns(): void {
    const root = this.#turns.get(this.#state.tree.root);
    while (root) {
      if (this.#full) return;
      let turn = root;
      for (let child = turn.children.first; child; child = turn.children.first) turn = child;
      const application = turn.applications.first;
      const record = application?.next;
      if (!application || !record) {
        if (application) turn.applications.drop();
        else if (!this.#finish(turn)) return;
        continue;
      }
      const served = this.#served.has(record);
      const obstacle = served ? undefined : this.#serve(record, application.application, turn.queue);
      if (obstacle === undefined) {
        application.walk.advance();
        turn.settleApplication();
        for (let at: QueueTurn | undefined = turn; at?.parent; at = at.parent) {
          at.rekey();
          at.parent.children.settle();
        }
      } else {
        const { group, at } = application.walk.drop();
        this.#explain(group, at, obstacle === atNodes ? undefined : obstacle);
        turn.settleApplication();
      }
    }
  }

  /** Nobody of the queue can go on. False when it is the last. */
  #finish(turn: QueueTurn): boolean {
    if (!turn.parent) return false;
    turn.parent.children.drop();
    return true;
  }

  /** Places the instance. Otherwise says what stands in the way; {@link atNodes}: no node can take it. */
  #serve(record: InstanceRecord, application: Application, queue: Queue): Obstacle | undefined {
    const partition = this.#limits.partitionOf(record.shape, queue);
    const obstacle = this.#limits.obstacle(record, application, queue, partition);
    if (obstacle) return obstacle;
    const slot = this.#nodes.choose(record, application, partition);
    if (slot >= 0) {
      this.#place(record, slot);
      return undefined;
    }
    const { waitsUntil } = this.#nodes;
    if (waitsUntil !== undefined) {
      this.#wake(waitsUntil);
      return localityObstacle;
    }
    if (record.group) this.#starving.push({ queue, partition, record, count: record.group.live });
    this.#reserveFor(record, application, partition);
    return atNodes;
  }

  #reserveFor(record: InstanceRecord, application: Application, partition: number): void {
    const { reservations } = this.#state.config;
    if (!reservations.enabled || this.#state.reservations.has(record)) return;
    const dueAt = application.waitingSince + reservations.afterMs;
    if (dueAt > this.#now) return this.#wake(dueAt);
    if (this.#limits.obstacle(record, application, application.queue!, partition)) return;
    const slot = chooseReserved(this.#state, record, partition, this.#neverLarge);
    if (slot < 0) return;
    this.#state.reserve(record, slot);
    this.#reserved.push([record, slot]);
    this.events.push(nodeReserved({ instance: record.id, node: this.#state.cluster.nodes.facts[slot]!.id }));
  }

  #preempt(): void {
    const { victims, dueAt } = choosePreemptions(this.#state, this.#starving, this.#now);
    this.#wake(dueAt);
    const { maxWaitBeforeKillMs } = this.#state.config.preemption;
    for (const { record, reason } of victims) {
      if (this.#full) return;
      this.#evict(record, reason, maxWaitBeforeKillMs);
    }
  }

  #place(record: InstanceRecord, slot: number): void {
    const { cluster, reservations, applications } = this.#state;
    const { nodes } = cluster;
    const kept = reservations.get(record);
    if (kept !== undefined) {
      this.#state.unreserve(record);
      this.#freed.push([record, kept]);
    }
    cluster.occupy(record, slot);
    this.#state.charge(applications.get(record.workload.name)!, record, slot, 1);
    this.#placed.push(record);
    this.#slots.push(slot);
    this.events.push({ type: 'InstancePlaced', data: { instance: record.id, node: nodes.facts[slot]!.id } });
  }

  #evict(victim: InstanceRecord, reason: string, graceMs: number): void {
    const { nodes } = this.#state.cluster;
    nodes.leave(victim.slot, victim.shape, 1);
    this.#victims.add(victim);
    const { id: node } = nodes.facts[victim.slot]!;
    this.events.push(event('InstancePreempted', { instance: victim.id, node, reason, graceMs }));
  }

  #explain(group: PendingGroup, from: number, obstacle: Obstacle | undefined): void {
    for (const told of this.#explanations.explain(group, from, obstacle)) {
      if (this.#served.has(told.record)) continue;
      if (this.#full) return;
      this.events.push(event('InstanceUnplaceable', { instance: told.record.id, reasons: told.reasons }));
    }
  }

  #wake(at: number | undefined): void {
    if (at !== undefined && (this.wakeAt === undefined || at < this.wakeAt)) this.wakeAt = at;
  }
}

function contextOf({ config, partitions }: YarnState): TurnContext {
  const { totals } = partitions;
  let [cpu, memory] = [0, 0];
  for (let at = 0; at < totals.length; at += 2) {
    cpu += totals[at]!;
    memory += totals[at + 1]!;
  }
  return { byMemoryOnly: config.resourceCalculator === 'default', total: [cpu, memory] };
}

/** No node can take it: the reasons are those of the nodes. */
const atNodes: Obstacle = { constraint: 'nodes', message: '' };
const localityObstacle: Obstacle = {
  constraint: 'locality',
  message: 'it waits a while for room near to what it wants to be with; there is room elsewhere',
};
