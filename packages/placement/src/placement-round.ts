import { type Decision, event, type NewEvent } from '@cloudos/sdk';
import type { Cluster } from './cluster.ts';
import type { InstanceRecord } from './instance-record.ts';
import type { PendingGroup } from './pending-group.ts';
import { PendingWalk } from './pending-walk.ts';
import type { Shape } from './shape.ts';
import { explainUnplaceable, signatureOf } from './unplaceable.ts';

/** How one resource manager chooses. Made anew for each round; must not change the cluster. */
export interface PlacementStrategy {
  /** Slot of the node for the instance, -1 when none can take it. */
  choose(record: InstanceRecord): number;
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
}

/**
 * One `react`: moves instances off draining nodes, serves those for whom others were preempted, then everyone who
 * waits, by priority and first come first within it. Decisions are tried out on the cluster, so that each sees those
 * before it, and taken back at the end: the cluster is left as it was.
 */
export function decideRound(
  cluster: Cluster,
  makeStrategy: (cluster: Cluster) => PlacementStrategy,
  limits: RoundLimits,
  now: number,
): Decision {
  if (cluster.groups.size === 0 && cluster.nominees.size === 0 && cluster.draining.size === 0) return { events: [] };
  const round = new Round(cluster, makeStrategy(cluster), limits);
  try {
    round.run();
  } finally {
    round.takeBack();
  }
  return round.exhausted ? { events: round.events, wakeAt: now } : { events: round.events };
}

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

  constructor(cluster: Cluster, strategy: PlacementStrategy, limits: RoundLimits) {
    this.#cluster = cluster;
    this.#strategy = strategy;
    this.#limits = limits;
  }

  run(): void {
    this.#drain();
    this.#serveNominees();
    this.#serveGroups();
  }

  takeBack(): void {
    const { nodes } = this.#cluster;
    for (let at = this.#placed.length - 1; at >= 0; at--) {
      const record = this.#placed[at]!;
      nodes.give(this.#slots[at]!, record.shape, record.tier);
      record.workload.count(this.#slots[at]!, nodes.domains, -1);
    }
    for (const { slot, shape, by } of this.#reserved) nodes.reserve(slot, shape, by === 1 ? -1 : 1);
    for (const victim of this.#victims) nodes.leave(victim.slot, victim.shape, -1);
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

  #serveNominees(): void {
    const nominees = [...this.#cluster.nominees.values()].sort(
      (one, other) => other.priority - one.priority || byOrder(one, other),
    );
    const { nodes } = this.#cluster;
    for (const record of nominees) {
      if (this.#full) return;
      const slot = record.nominated;
      if (!nodes.fitsReserved(slot, record.shape)) continue;
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
      if (this.#serve(record)) {
        walk.advance();
        continue;
      }
      const { group, at } = walk.drop();
      this.#explain(group, at);
    }
  }

  /** Places the record, or makes room for it. False when neither can be done now. */
  #serve(record: InstanceRecord): boolean {
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
    nodes.take(slot, record.shape, record.tier);
    record.workload.count(slot, nodes.domains, 1);
    this.#placed.push(record);
    this.#slots.push(slot);
    this.events.push({ type: 'InstancePlaced', data: { instance: record.id, node: nodes.facts[slot]!.id } });
  }

  #reserve(slot: number, shape: Shape, by: 1 | -1): void {
    this.#cluster.nodes.reserve(slot, shape, by);
    this.#reserved.push({ slot, shape, by });
  }

  #evict(victim: InstanceRecord, reason: string, by?: string): void {
    const { nodes } = this.#cluster;
    nodes.leave(victim.slot, victim.shape, 1);
    this.#victims.add(victim);
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
  #explain(group: PendingGroup, from: number): void {
    if (group.toldAll(group.signature) && this.#cluster.nodesChangedAt <= group.toldAt) return;
    const reasons = explainUnplaceable(this.#cluster, group.shape);
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

  #tell(record: InstanceRecord, reasons: ReturnType<typeof explainUnplaceable>): void {
    this.events.push(event('InstanceUnplaceable', { instance: record.id, reasons }));
  }
}

function byOrder(one: InstanceRecord, other: InstanceRecord): number {
  return one.order - other.order;
}
