import {
  decideMaintenance,
  type InstanceRecord,
  maintenanceNoticeDefaultMs,
  type PendingGroup,
} from '@cloudos/placement';
import { type Decision, event, type NewEvent } from '@cloudos/sdk';
import type { Application } from '../application.ts';
import type { Queue } from '../queues/queue.ts';
import { WaitingClass } from '../waiting.ts';
import type { YarnState } from '../yarn-state.ts';
import { Activation, atNodes, localityObstacle, type Obstacle } from './activation.ts';
import { Explanations } from './explanations.ts';
import { Limits } from './limit-checks.ts';
import { NodeChoice } from './node-choice.ts';
import { choosePreemptions } from './preemption.ts';
import { ClassTurn, contextOf, QueueTurn, type Turn, type TurnContext } from './queue-turn.ts';
import { Reserving } from './reserving.ts';
import { bySubmission, firstOf } from './submission-order.ts';

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
  readonly #placedOf = new Map<PendingGroup, number>();
  readonly #slots: number[] = [];
  readonly #freed: (readonly [record: InstanceRecord, slot: number])[] = [];
  readonly #reserving: Reserving;
  readonly #victims = new Set<InstanceRecord>();
  /** Served out of turn. They are in their groups still. */
  readonly #served = new Set<InstanceRecord>();
  readonly #context: TurnContext;

  constructor(state: YarnState, now: number) {
    this.#state = state;
    this.#now = now;
    this.#nodes = new NodeChoice(state, now);
    this.#limits = new Limits(state);
    this.#reserving = new Reserving(state, this.#limits, now, (at) => this.#wake(at));
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
    this.#reserving.takeBack();
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

  /** Everyone who waits, by queue: applications, and classes of those who ask for the same. */
  #gather(): void {
    const { applications, config, partitions, tree, waiting } = this.#state;
    waiting.update();
    const refused = [...waiting.turnedAway].sort((one, other) => firstOf(one).order - firstOf(other).order);
    for (const group of refused) {
      this.#explain(group, group.head, applications.get(firstOf(group).workload.name)!.rejection);
    }
    const classes = [...waiting.classes()];
    for (const group of waiting.alone) {
      const application = applications.get(firstOf(group).workload.name)!;
      if (application.groups.push(group) === 1) this.#waiting.push(application);
    }
    for (const { groups } of this.#waiting) groups.sort((one, other) => firstOf(one).order - firstOf(other).order);
    if (tree.labels.length > 1) this.#expectLabels([...classes, ...waiting.refused()]);
    const everyone = [...this.#waiting, ...classes].sort(bySubmission);
    const activation = new Activation(config, partitions.totals);
    const served = new Set([...this.#served].map(({ group }) => group && waiting.classOf(group)));
    for (const { queue, user } of classes) this.#limits.activate(queue, user);
    for (const each of everyone) {
      if (!(each instanceof WaitingClass)) this.#enter(each, activation.obstacle(each));
      else if (served.has(each) || !this.#passOverClass(each)) this.#turn(each.queue).addClass(new ClassTurn(each));
    }
    for (const turn of this.#turns.values()) turn.parent?.children.add(turn);
  }

  #expectLabels(classes: readonly WaitingClass[]): void {
    for (const { queue, groups } of this.#waiting) {
      for (const { shape, live } of queue ? groups : [])
        this.#nodes.expect(this.#limits.partitionOf(shape, queue!), live);
    }
    for (const { queue, shape, live } of classes) this.#nodes.expect(this.#limits.partitionOf(shape, queue), live);
  }

  /** An application takes part, unless it may not run: then it is told so. */
  #enter(application: Application, obstacle: Obstacle | undefined): void {
    if (obstacle) {
      for (const group of application.groups) this.#explain(group, group.head, obstacle);
      return;
    }
    this.#limits.activate(application.queue!, application.user);
    this.#passOver(application);
    if (application.groups.length > 0) this.#turn(application.queue!).addApplication(application);
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
      const record = firstOf(group);
      if (
        this.#served.has(record) ||
        !this.#explanations.knownOfNodes(group) ||
        !this.#nodes.hopeless(record, partition)
      ) {
        groups[kept++] = group;
        continue;
      }
      this.#starving.push({ queue, partition, record, count: group.live });
      const kind = new WaitingClass(queue, application.user, group.shape, group.priority);
      kind.add(application, group);
      this.#letReserve(kind, partition);
    }
    groups.length = kept;
  }

  /** The same for a whole class, whatever number of them wait. */
  #passOverClass(kind: WaitingClass): boolean {
    const { queue, shape, live, entries } = kind;
    const partition = this.#limits.partitionOf(shape, queue);
    const record = firstOf(entries[0]!.groups[0]!);
    if (!this.#explanations.knownOfClass(kind) || !this.#nodes.hopeless(record, partition)) return false;
    this.#starving.push({ queue, partition, record, count: live });
    this.#letReserve(kind, partition);
    return true;
  }

  /** Nobody of them can be placed, but nodes may be kept for some: each in its turn. */
  #letReserve(kind: WaitingClass, partition: number): void {
    if (!this.#reserving.mayKeepFor(kind, partition)) return;
    const turn = new ClassTurn(kind);
    turn.hopeless = true;
    this.#turn(kind.queue).addClass(turn);
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
      const first = turn.applications.first;
      const record = first?.next;
      if (!first || !record) {
        if (first) turn.applications.drop();
        else if (!this.#finish(turn)) return;
        continue;
      }
      if (first instanceof ClassTurn && first.hopeless) {
        this.#reserveNext(first, record, turn);
        continue;
      }
      const obstacle = this.#served.has(record) ? undefined : this.#serve(record, first, turn.queue);
      if (obstacle === undefined) {
        first.advance();
        turn.settleApplication();
        for (let at: QueueTurn | undefined = turn; at?.parent; at = at.parent) {
          at.rekey();
          at.parent.children.settle();
        }
      } else if (first instanceof ClassTurn) {
        this.#endClass(first, record, obstacle, turn);
      } else {
        const { group, at } = first.walk.drop();
        this.#explain(group, at, obstacle === atNodes ? undefined : obstacle);
        turn.settleApplication();
      }
    }
  }

  /** What stands in the way of the one stands in the way of all who are left, unless it is the company it would have. */
  #endClass(first: ClassTurn, record: InstanceRecord, obstacle: Obstacle, turn: QueueTurn): void {
    const { kind } = first;
    const said = obstacle === atNodes ? undefined : obstacle;
    if (!said && this.#state.cluster.company.binds(record.kin)) {
      for (const group of kind.entries[first.at]!.groups) this.#explain(group, group.head, undefined);
      first.skip();
      return turn.settleApplication();
    }
    if (!this.#explanations.knownOfClass(kind, said)) {
      for (const { groups } of kind.entries.slice(first.at)) {
        for (const group of groups)
          this.#explain(group, group === record.group ? group.items.indexOf(record, group.head) : group.head, said);
      }
    }
    if (said || !this.#reserving.mayKeepFor(kind, this.#limits.partitionOf(kind.shape, kind.queue))) {
      turn.applications.drop();
      return;
    }
    // those who are left may have a node kept for them, each in its turn
    first.hopeless = true;
    first.skip();
    turn.settleApplication();
  }

  #reserveNext(first: ClassTurn, record: InstanceRecord, turn: QueueTurn): void {
    const partition = this.#limits.partitionOf(first.kind.shape, first.kind.queue);
    this.#reserveFor(record, first.application, partition);
    if (this.#reserving.mayKeepFor(first.kind, partition)) {
      first.skip();
      turn.settleApplication();
    } else {
      turn.applications.drop();
    }
  }

  /** Nobody of the queue can go on. False when it is the last. */
  #finish(turn: QueueTurn): boolean {
    if (!turn.parent) return false;
    turn.parent.children.drop();
    return true;
  }

  /** Places the instance. Otherwise says what stands in the way; {@link atNodes}: no node can take it. */
  #serve(record: InstanceRecord, turn: Turn, queue: Queue): Obstacle | undefined {
    const { application } = turn;
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
    if (record.group) this.#starving.push({ queue, partition, record, count: this.#left(turn, record) });
    this.#reserveFor(record, application, partition);
    return atNodes;
  }

  /** How many are left with the one who found no place. */
  #left(turn: Turn, record: InstanceRecord): number {
    const alone = !(turn instanceof ClassTurn) || this.#state.cluster.company.binds(record.kin);
    return alone ? record.group!.live - (this.#placedOf.get(record.group!) ?? 0) : turn.kind.live - turn.served;
  }

  #reserveFor(record: InstanceRecord, application: Application, partition: number): void {
    const kept = this.#reserving.keepFor(record, application, partition);
    if (kept) this.events.push(kept);
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
    if (record.group) this.#placedOf.set(record.group, (this.#placedOf.get(record.group) ?? 0) + 1);
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
