import { type Decision, event, type NewEvent } from '@cloudos/sdk';
import { reservedOf } from './alloc-sets.ts';
import type { Cluster } from './cluster.ts';
import type { InstanceRecord } from './instance-record.ts';
import type { Kin } from './kin.ts';
import { decideMaintenance } from './maintenance.ts';
import type { PendingGroup } from './pending-group.ts';
import { PendingWalk } from './pending-walk.ts';
import { width } from './resource-vector.ts';
import type { Shape } from './shape.ts';
import { explainUnplaceable, type Reasons, signatureOf } from './unplaceable.ts';

/** How one resource manager chooses. Made anew for each round; must not change the cluster. */
export interface PlacementStrategy {
  /** Slot of the node for the instance, -1 when none can take it. */
  choose(record: InstanceRecord): number;
  /** What keeps the instance from being considered at all, in words. Undefined: nothing. */
  hold?(record: InstanceRecord): { readonly constraint: string; readonly message: string } | undefined;
  /**
   * Where others could make room. No victims: waiting for those who leave already will do. Undefined: nowhere.
   * @param spared those who must not be chosen: they lose their places already
   */
  preempt?(record: InstanceRecord, spared: ReadonlySet<InstanceRecord>): Preemption | undefined;
}

export interface Preemption {
  readonly slot: number;
  readonly victims: readonly InstanceRecord[];
}

export interface RoundLimits {
  /** Events that one call decides at most; what is left follows in the next call, at once. */
  readonly eventsMax: number;
  /** Grace for instances whose workload was never declared. */
  readonly graceMs: number;
  /** How long before its maintenance a node is drained. */
  readonly maintenanceNoticeMs?: number | undefined;
}

/** Notice before a maintenance, where the policy has no setting for it. */
export const maintenanceNoticeDefaultMs = 300_000;

/**
 * One `react`: begins and ends maintenance that is due, moves instances off draining nodes, puts out those who have
 * borrowed what is needed after all, serves those for whom others were preempted, then everyone who
 * waits, by priority and first come first within it. Decisions are tried out on the cluster, so that each sees those
 * before it, and taken back at the end, or when anything but what was decided comes next: to everyone who looks the
 * cluster is as it was.
 */
export function decideRound(
  cluster: Cluster,
  makeStrategy: (cluster: Cluster, now: number) => PlacementStrategy,
  limits: RoundLimits,
  now: number,
): Decision {
  cluster.tentative.takeBack();
  const { events, wakeAt } = decideMaintenance(cluster, limits.maintenanceNoticeMs ?? maintenanceNoticeDefaultMs, now);
  // what they change is taken in before anything else is decided
  if (events.length > 0) return { events, wakeAt: now };
  const waking = wakeAt === undefined ? {} : { wakeAt };
  if (nothingToDo(cluster)) return { events: [], ...waking };
  const round = new Round(cluster, makeStrategy(cluster, now), limits);
  try {
    round.run();
  } finally {
    round.takeBack();
  }
  return round.exhausted ? { events: round.events, wakeAt: now } : { events: round.events, ...waking };
}

function nothingToDo({ groups, nominees, draining, overdrawn }: Cluster): boolean {
  return groups.size === 0 && nominees.size === 0 && draining.size === 0 && overdrawn.size === 0;
}

type Held = NonNullable<ReturnType<NonNullable<PlacementStrategy['hold']>>>;

class Round {
  readonly events: NewEvent[] = [];
  exhausted = false;
  readonly #cluster: Cluster;
  readonly #strategy: PlacementStrategy;
  readonly #limits: RoundLimits;
  readonly #placed: InstanceRecord[] = [];
  readonly #slots: number[] = [];
  readonly #reserved: { slot: number; shape: Shape; by: 1 | -1 }[] = [];
  readonly #victims = new Set<InstanceRecord>();
  readonly #reasons = new Map<Shape, Reasons>();
  /** By group, kins of which one found no place and from whom others keep away. */
  readonly #shunned = new Map<PendingGroup, Set<Kin>>();

  constructor(cluster: Cluster, strategy: PlacementStrategy, limits: RoundLimits) {
    this.#cluster = cluster;
    this.#strategy = strategy;
    this.#limits = limits;
  }

  run(): void {
    this.#drain();
    this.#callIn();
    this.#serveNominees();
    this.#serveGroups();
  }

  takeBack(): void {
    const { nodes, allocs } = this.#cluster;
    this.#cluster.tentative.keep(this.#placed, this.#slots);
    for (const { slot, shape, by } of this.#reserved) nodes.reserve(slot, shape, by === 1 ? -1 : 1);
    for (const victim of this.#victims) {
      if (!allocs.around(victim)) nodes.leave(victim.slot, victim.shape, -1);
      this.#cluster.countLeaving(victim, -1);
    }
  }

  get #full(): boolean {
    if (this.events.length >= this.#limits.eventsMax) this.exhausted = true;
    return this.exhausted;
  }

  #drain(): void {
    for (const slot of this.#cluster.draining) {
      const facts = this.#cluster.nodes.facts[slot]!;
      if (facts.state !== 'ready' || facts.drained) continue;
      if (facts.instances.size === 0) this.events.push(event('NodeDrained', { node: facts.id }));
      const leaving = [...facts.instances].filter(({ phase }) => phase === 'placed').sort(byOrder);
      for (const record of leaving) {
        if (this.#full) return;
        this.#evict(record, 'drain');
      }
    }
  }

  /** Where more is needed than there is, those who have borrowed leave: the least important, youngest first. */
  #callIn(): void {
    const { nodes, overdrawn } = this.#cluster;
    for (const slot of [...overdrawn].sort((one, other) => one - other)) {
      const at = slot * width;
      const short = [0, 1].map((index) => -nodes.spare[at + index]! - nodes.leaving[at + index]!);
      const borrowers = [...nodes.facts[slot]!.instances]
        .filter(({ phase, tier }) => phase === 'placed' && tier === 0)
        .sort((one, other) => one.priority - other.priority || other.order - one.order);
      for (const record of borrowers) {
        if (short[0]! <= 0 && short[1]! <= 0) break;
        if (this.#full) return;
        this.#evict(record, 'the resources that it has borrowed are needed');
        short[0] = short[0]! - (record.shape.cpu - record.idleCpu);
        short[1] = short[1]! - (record.shape.memory - record.idleMemory);
      }
    }
  }

  #serveNominees(): void {
    const nominees = [...this.#cluster.nominees.values()].sort(
      (one, other) => other.priority - one.priority || byOrder(one, other),
    );
    const { nodes } = this.#cluster;
    for (const record of nominees) {
      if (this.#full) return;
      const slot = record.nominated;
      if (!nodes.fitsReserved(slot, record.shape) || !this.#cluster.companyAllows(record, slot)) continue;
      this.#reserve(slot, record.shape, -1);
      this.#place(record, slot);
    }
  }

  #serveGroups(): void {
    const walk = new PendingWalk();
    for (const group of this.#cluster.groups.values()) {
      walk.add(group);
    }
    for (let record = walk.current(); record; record = walk.current()) {
      if (this.#full) return;
      const held = this.#strategy.hold?.(record);
      if (!held && this.#serve(record)) {
        walk.advance();
        continue;
      }
      if (!held && this.#cluster.company.binds(record.kin) && record.kin.rules.length === 0) {
        // others keep away from its workload: that says nothing about the rest of the group
        this.#shunned.set(record.group!, (this.#shunned.get(record.group!) ?? new Set()).add(record.kin));
        this.#explainOne(record);
        walk.advance();
        continue;
      }
      const { group, at } = walk.drop();
      this.#explain(group, at, record, held);
    }
  }

  /** Places the record, or makes room for it. False when neither can be done now. */
  #serve(record: InstanceRecord): boolean {
    if (this.#shunned.size > 0 && this.#shunned.get(record.group!)?.has(record.kin)) return false;
    const slot = this.#strategy.choose(record);
    if (slot >= 0) {
      this.#place(record, slot);
      return true;
    }
    const preemption = this.#strategy.preempt?.(record, this.#victims);
    if (!preemption || preemption.victims.length === 0) return false;
    this.#reserve(preemption.slot, record.shape, 1);
    for (const victim of preemption.victims) {
      this.#evict(
        victim,
        `priority ${victim.priority} gives way to priority ${record.priority} of ${record.workload.name}`,
        record.id,
      );
    }
    return true;
  }

  #place(record: InstanceRecord, slot: number): void {
    const { nodes } = this.#cluster;
    this.#cluster.occupy(record, slot);
    this.#placed.push(record);
    this.#slots.push(slot);
    const node = nodes.facts[slot]!.id;
    const part = this.#cluster.allocs.of(record);
    if (part) this.events.push(event('ResourcesReserved', reservedOf(part, node)));
    else this.events.push({ type: 'InstancePlaced', data: { instance: record.id, node } });
  }

  #reserve(slot: number, shape: Shape, by: 1 | -1): void {
    this.#cluster.nodes.reserve(slot, shape, by);
    this.#reserved.push({ slot, shape, by });
  }

  #evict(victim: InstanceRecord, reason: string, by?: string): void {
    if (this.#victims.has(victim)) return;
    const { nodes, allocs } = this.#cluster;
    const part = allocs.of(victim);
    this.#victims.add(victim);
    if (!allocs.around(victim)) nodes.leave(victim.slot, victim.shape, 1);
    this.#cluster.countLeaving(victim, 1);
    if (part) {
      // those who run in it lose their places with it
      for (const inside of part.inside) if (inside.phase === 'placed') this.#evict(inside, reason, by);
      this.events.push(event('ResourcesUnreserved', reservedOf(part, nodes.facts[victim.slot]!.id)));
      return;
    }
    this.events.push(
      event('InstancePreempted', {
        instance: victim.id,
        node: nodes.facts[victim.slot]!.id,
        ...(by === undefined ? {} : { by }),
        reason,
        graceMs: victim.workload.graceMs ?? this.#limits.graceMs,
      }),
    );
  }

  /**
   * Records why the group's instances wait, for those that were not told so yet. The reasons are looked into again when
   * somebody was not told or nodes have changed since: this follows from the log, not from when it was called.
   */
  #explain(group: PendingGroup, from: number, first: InstanceRecord, held: Held | undefined): void {
    if (this.#cluster.allocs.of(first)) return; // parts of reservations are not instances that could be told
    if (group.toldAll(group.signature) && this.#cluster.factsChangedAt <= group.toldAt) return;
    const reasons = held ? this.#heldBack(held) : this.#reasonsFor(first);
    const signature = signatureOf(reasons);
    if (group.toldAll(signature)) return;
    const start = signature === group.signature ? Math.max(from, group.toldUntil) : from;
    for (let at = start; at < group.items.length; at++) {
      const record = group.items[at]!;
      if (!group.waits(at) || record.told === signature) continue;
      if (this.#full) return;
      this.#tell(record, reasons);
    }
  }

  #explainOne(record: InstanceRecord): void {
    const reasons = explainUnplaceable(this.#cluster, record);
    if (record.told !== signatureOf(reasons) && !this.#full) this.#tell(record, reasons);
  }

  #heldBack({ constraint, message }: Held): Reasons {
    const nodes = this.#cluster.nodes.facts.filter(({ state }) => state !== 'left').length;
    return [{ constraint, nodes, message }];
  }

  /** Without rules about company the reasons are those of the shape: found once a round. */
  #reasonsFor(record: InstanceRecord): Reasons {
    if (this.#cluster.company.binds(record.kin)) return explainUnplaceable(this.#cluster, record);
    const reasons = this.#reasons.get(record.shape) ?? explainUnplaceable(this.#cluster, record);
    this.#reasons.set(record.shape, reasons);
    return reasons;
  }

  #tell(record: InstanceRecord, reasons: Reasons): void {
    this.events.push(event('InstanceUnplaceable', { instance: record.id, reasons }));
  }
}

function byOrder(one: InstanceRecord, other: InstanceRecord): number {
  return one.order - other.order;
}
