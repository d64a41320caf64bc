import { type InstanceRecord, type Kin, type PendingGroup, PendingWalk } from '@cloudos/placement';
import { event, type NewEvent } from '@cloudos/sdk';
import { Agents } from './agents.ts';
import { frameworkEvent } from './framework-events.ts';
import type { Launch, Offer } from './frameworks.ts';
import { Guarantees } from './guarantees.ts';
import { frameworkOf, type MesosState } from './mesos-state.ts';
import { OutsideOffers } from './outside-offers.ts';
import { Explainer, type Obstacle } from './reasons.ts';
import type { ShareNode } from './share-tree.ts';

/** What one framework of the stack waits for: its instances, by priority, first come first within it. */
interface Queue {
  readonly client: ShareNode;
  readonly role: string;
  readonly walk: PendingWalk;
}

/**
 * Drains agents, then allocates. The allocator says whose turn it is and what it may have; the framework whose turn it
 * is says what it takes: an orchestrator of the stack the next of its instances, on the agent that fits best, a
 * framework outside of the stack is offered an agent.
 */
export class AllocationRound {
  readonly events: NewEvent[] = [];
  exhausted = false;
  readonly #state: MesosState;
  readonly #agents: Agents;
  readonly #guarantees: Guarantees;
  readonly #explainer: Explainer;
  readonly #placed: { record: InstanceRecord; slot: number; client: ShareNode }[] = [];
  readonly #launched: Launch[] = [];
  readonly #evicted = new Set<InstanceRecord>();
  readonly #queues = new Map<ShareNode, Queue>();
  readonly #outside: OutsideOffers;
  /** By group, kins of which one found no place and from whom others keep away. */
  readonly #shunned = new Map<PendingGroup, Set<Kin>>();

  constructor(state: MesosState, now: number) {
    this.#state = state;
    this.#agents = new Agents(state);
    this.#guarantees = new Guarantees(state, this.#agents);
    this.#explainer = new Explainer(state, this.#agents);
    this.#outside = new OutsideOffers(state, this.#agents, this.#guarantees, now);
  }

  run(): void {
    this.#drain();
    this.#launch();
    if (this.#guarantees.unmet.size > 0) this.#allocate(true);
    this.#allocate(false);
    const offers = this.#outside.made;
    if (offers.length > 0) this.events.push(frameworkEvent('OffersMade', { offers }));
  }

  takeBack(): void {
    const { cluster, shares } = this.#state;
    for (const client of this.#queues.keys()) shares.want(client, false);
    this.#outside.takeBack();
    for (const { client, amounts } of this.#launched) shares.charge(client, amounts, 1);
    for (let at = this.#placed.length - 1; at >= 0; at--) {
      const { record, slot, client } = this.#placed[at]!;
      cluster.vacate(record, slot);
      shares.chargeShape(client, record.shape, -1);
    }
    for (const victim of this.#evicted) cluster.nodes.leave(victim.slot, victim.shape, -1);
  }

  get #full(): boolean {
    if (this.events.length >= this.#state.config.decisionsMax) this.exhausted = true;
    return this.exhausted;
  }

  #drain(): void {
    const { cluster, config } = this.#state;
    for (const slot of cluster.draining) {
      const facts = cluster.nodes.facts[slot]!;
      if (facts.state !== 'ready' || facts.drained) continue;
      if (facts.instances.size === 0) this.events.push(event('NodeDrained', { node: facts.id }));
      for (const victim of [...facts.instances].sort((one, other) => one.order - other.order)) {
        if (victim.phase !== 'placed') continue;
        if (this.#full) return;
        cluster.nodes.leave(slot, victim.shape, 1);
        this.#evicted.add(victim);
        const graceMs = victim.workload.graceMs ?? config.graceMs;
        this.events.push(event('InstancePreempted', { instance: victim.id, node: facts.id, reason: 'drain', graceMs }));
      }
    }
  }

  /** Instances of frameworks outside of the stack go where the offer was that they were launched on, or nowhere. */
  #launch(): void {
    const launched: PendingGroup[] = [];
    for (const group of this.#state.cluster.groups.values()) {
      if (frameworkOf(group.profile) === undefined) this.#enqueue(group);
      else launched.push(group);
    }
    launched.sort((one, other) => one.items[one.head]!.order - other.items[other.head]!.order);
    for (const group of launched) {
      for (let at = group.head; at < group.items.length; at++) {
        if (this.#full) return;
        if (group.waits(at)) this.#launchOne(group, at);
      }
    }
  }

  #launchOne(group: PendingGroup, at: number): void {
    const { frameworks, shares } = this.#state;
    const record = group.items[at]!;
    const launch = frameworks.launches.get(record.workload.name);
    if (launch && this.#agents.fits(record, launch.slot)) {
      shares.charge(launch.client, launch.amounts, -1);
      this.#launched.push(launch);
      this.#agents.rescinded.add(launch);
      return this.#place(record, launch.slot, this.#state.clientOf(record));
    }
    const obstacle = launch ? undefined : this.#explainer.withoutOffer(group.profile.user ?? '');
    this.#explain(group, at, record, obstacle);
  }

  #enqueue(group: PendingGroup): void {
    const role = group.profile.owner;
    const client = this.#state.clientOf(group.items[group.head]!);
    let queue = this.#queues.get(client);
    if (!queue) {
      queue = { client, role, walk: new PendingWalk() };
      this.#queues.set(client, queue);
    }
    queue.walk.add(group);
  }

  /** @param promised only what is promised to roles and not used yet */
  #allocate(promised: boolean): void {
    const { shares } = this.#state;
    const wanting = new Set<ShareNode>();
    for (const { client, role, walk } of this.#queues.values()) {
      if (!walk.current() || (promised && !this.#guarantees.concerns(role))) continue;
      shares.want(client, true);
      wanting.add(client);
    }
    for (const client of this.#outside.clients(promised)) {
      shares.want(client, true);
      wanting.add(client);
    }
    const done = (client: ShareNode) => {
      shares.want(client, false);
      wanting.delete(client);
    };
    for (let client = shares.next(); client && !this.#full; client = shares.next()) {
      const queue = this.#queues.get(client);
      if (queue ? !this.#serve(queue, promised) : !this.#outside.offer(client, promised)) done(client);
    }
    for (const client of wanting) shares.want(client, false);
  }

  /** Gives the framework what it wants next, or says why not. False when it wants nothing more for now. */
  #serve({ client, role, walk }: Queue, promised: boolean): boolean {
    const record = walk.current();
    if (!record) return false;
    if (promised && !this.#guarantees.within(role, record.shape)) return false;
    const obstacle = this.#obstacle(role, record);
    const slot = obstacle || this.#shunned.get(record.group!)?.has(record.kin) ? -1 : this.#agents.find(record);
    if (slot >= 0) {
      this.#place(record, slot, client);
      walk.advance();
      return true;
    }
    if (promised) return false;
    if (!obstacle) this.#takeBackOffer(record, client);
    const { company } = this.#state.cluster;
    if (!obstacle && company.binds(record.kin) && record.kin.rules.length === 0) {
      // others keep away from its workload: that says nothing about the rest of the group
      this.#shunned.set(record.group!, (this.#shunned.get(record.group!) ?? new Set()).add(record.kin));
      this.#explainOne(record);
      walk.advance();
      return true;
    }
    const { group, at } = walk.drop();
    this.#explain(group, at, record, obstacle);
    return true;
  }

  #obstacle(role: string, record: InstanceRecord): Obstacle | undefined {
    const { quotas } = this.#state;
    const stopped = quotas.stoppedAt(role);
    if (stopped !== undefined) return this.#explainer.stopped(stopped);
    const exceeded = quotas.exceededBy(role, record.shape, (path) => this.#agents.unusedReserved(path));
    if (exceeded !== undefined) return this.#explainer.overQuota(exceeded, record.shape);
    if (!this.#guarantees.leavesEnough(role, record.shape)) return this.#explainer.promised(role);
    return undefined;
  }

  #place(record: InstanceRecord, slot: number, client: ShareNode): void {
    const { cluster, shares } = this.#state;
    cluster.occupy(record, slot);
    shares.chargeShape(client, record.shape, 1);
    this.#placed.push({ record, slot, client });
    this.#agents.placed(record, slot);
    this.#guarantees.placed(record.kin.profile.owner, record.shape);
    this.events.push({
      type: 'InstancePlaced',
      data: { instance: record.id, node: cluster.nodes.facts[slot]!.id },
    });
  }

  /**
   * An offer without an answer that stands in the way is rescinded where its framework would not be served first
   * without it: otherwise it would be offered the same again.
   */
  #takeBackOffer(record: InstanceRecord, client: ShareNode): void {
    const { frameworks, cluster, shares } = this.#state;
    for (const offer of frameworks.offers.values()) {
      if (this.#agents.rescinded.has(offer) || !cluster.nodes.fits(offer.slot, record.shape)) continue;
      const { node } = record.shape.demand;
      if (node !== undefined && node !== offer.data.node) continue;
      this.#agents.rescinded.add(offer);
      shares.charge(offer.client, offer.amounts, -1);
      const first = shares.precedes(client, offer.client);
      shares.charge(offer.client, offer.amounts, 1);
      if (first && this.#agents.fits(record, offer.slot)) return this.#rescind(offer);
      this.#agents.rescinded.delete(offer);
    }
  }

  #rescind(offer: Offer): void {
    const { framework, offer: id } = offer.data;
    const reason = 'a framework with a smaller share needs it';
    this.events.push(frameworkEvent('OffersRescinded', { framework, offers: [id], reason }));
  }

  /**
   * Records why the group's instances wait, for those that were not told so yet. The reasons are looked into again when
   * somebody was not told or facts have changed since: this follows from the log, not from when it was called.
   */
  #explain(group: PendingGroup, from: number, first: InstanceRecord, obstacle: Obstacle | undefined): void {
    if (group.toldAll(group.signature) && this.#state.cluster.factsChangedAt <= group.toldAt) return;
    const { reasons, signature } = this.#explainer.reasonsFor(first, obstacle);
    if (group.toldAll(signature)) return;
    const start = signature === group.signature ? Math.max(from, group.toldUntil) : from;
    for (let at = start; at < group.items.length; at++) {
      const record = group.items[at]!;
      if (!group.waits(at) || record.told === signature) continue;
      if (this.#full) return;
      this.events.push(event('InstanceUnplaceable', { instance: record.id, reasons }));
    }
  }

  #explainOne(record: InstanceRecord): void {
    const { reasons, signature } = this.#explainer.reasonsFor(record, undefined);
    if (record.told === signature || this.#full) return;
    this.events.push(event('InstanceUnplaceable', { instance: record.id, reasons }));
  }
}
