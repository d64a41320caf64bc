import { Cluster, type ClusterOptions, type InstanceRecord, matches, type Profile } from '@cloudos/placement';
import type { EventData, SharedEvent } from '@cloudos/sdk';
import { Bundle } from './bundle.ts';
import type { MesosConfig } from './config.ts';
import { asFrameworkEvent, type FrameworkEvent } from './framework-events.ts';
import { Frameworks } from './frameworks.ts';
import { Quotas } from './quotas.ts';
import { Reservations } from './reservations.ts';
import { type ShareNode, ShareTree } from './share-tree.ts';

/** How the ids of frameworks outside of the stack begin: instances on their behalf name them as their user. */
export const frameworkPrefix = 'fw-';

/** Mesos knows no priorities between frameworks: one tier. Within a framework they order what it launches. */
export const clusterOptions: ClusterOptions = { tiers: 1, tierOf: () => 0, domains: [] };

/** The master's view: agents and instances, roles and their shares, reservations, frameworks and their offers. */
export class MesosState {
  readonly config: MesosConfig;
  readonly cluster: Cluster;
  readonly shares: ShareTree;
  readonly quotas: Quotas;
  readonly reservations = new Reservations();
  readonly frameworks: Frameworks;
  /** Memo: the client that instances of a profile are charged to. */
  readonly #clients = new WeakMap<Profile, ShareNode>();

  constructor(config: MesosConfig, cluster = new Cluster(clusterOptions)) {
    this.config = config;
    this.cluster = cluster;
    this.shares = new ShareTree(config.fairShareExcluded);
    for (const [role, weight] of Object.entries(config.weights)) this.shares.setWeight(role, weight);
    this.quotas = new Quotas(this.shares, config.weights);
    this.frameworks = new Frameworks(this.shares);
  }

  /** Takes in an event of the log. Types that do not concern it are ignored. */
  apply(event: SharedEvent): void {
    const own = asFrameworkEvent(event);
    if (own) {
      this.cluster.apply(event);
      return this.#applyOwn(own, event.time);
    }
    switch (event.type) {
      case 'InstancePlaced':
        return this.#place(event);
      case 'GuestRemoved':
        return this.#remove(event);
      case 'NodeJoined':
      case 'NodeCapacityChanged':
        return this.#describe(event);
      case 'NodeLost':
      case 'NodeLeft':
        return this.#lose(event);
      case 'WorkloadRemoved':
        this.frameworks.endLaunch(event.data.workload);
        return this.cluster.apply(event);
      default:
        this.cluster.apply(event);
        this.#applyOwners(event);
    }
  }

  #applyOwners(event: SharedEvent): void {
    switch (event.type) {
      case 'QuotaSet':
        return this.quotas.set(event.data);
      case 'QuotaRemoved':
        return this.quotas.remove(event.data);
      case 'OwnerStateChanged':
        return this.quotas.setState(event.data);
      case 'ResourcesReserved':
      case 'ResourcesUnreserved': {
        const slot = this.cluster.nodes.slotOf(event.data.node);
        if (slot < 0) return;
        if (event.type === 'ResourcesReserved') this.reservations.reserve(slot, event.data);
        else this.reservations.unreserve(slot, event.data);
        this.cluster.factsChangedAt = this.cluster.version;
      }
    }
  }

  #applyOwn({ name, data }: FrameworkEvent, time: number): void {
    const { frameworks } = this;
    switch (name) {
      case 'FrameworkSubscribed':
        return frameworks.subscribe(data);
      case 'FrameworkDisconnected':
        return frameworks.disconnect(data.framework, time);
      case 'FrameworkRemoved':
        return frameworks.remove(data.framework);
      case 'OffersMade':
        for (const offer of data.offers) frameworks.offer(offer, this.cluster.nodes.slotOf(offer.node), time);
        return;
      case 'OffersRescinded':
        return frameworks.rescind(data.offers);
      case 'OffersDeclined':
        return frameworks.decline(data, time);
      case 'OffersAccepted':
        return frameworks.accept(data, time);
      case 'LaunchesReleased':
        for (const workload of data.workloads) frameworks.endLaunch(workload);
        return;
      case 'OffersRevived':
        return frameworks.revive(data);
      case 'OffersSuppressed':
        return frameworks.suppress(data);
      case 'InverseOffersMade':
        for (const { node, ...offer } of data.offers) {
          frameworks.inverse({ ...offer, slot: this.cluster.nodes.slotOf(node) });
        }
        return;
      case 'InverseOffersRescinded':
        for (const offer of data.offers) frameworks.inverseOffers.delete(offer);
    }
  }

  /** Whom the instance is charged to: its role, and the framework that launched it. */
  clientOf({ kin }: InstanceRecord): ShareNode {
    const { profile } = kin;
    let client = this.#clients.get(profile);
    if (!client) {
      client = this.shares.client(profile.owner, frameworkOf(profile) ?? '');
      this.#clients.set(profile, client);
    }
    return client;
  }

  /** Charges what a snapshot says is there. */
  restoreCharges(): void {
    for (const record of this.cluster.instances.values()) {
      if (record.slot >= 0) this.shares.chargeShape(this.clientOf(record), record.shape, 1);
    }
    for (let slot = 0; slot < this.cluster.nodes.count; slot++) this.#count(slot, 1);
    for (let slot = 0; slot < this.cluster.nodes.count; slot++) this.#reserveFixed(slot);
  }

  #place(event: SharedEvent & { type: 'InstancePlaced' }): void {
    const record = this.cluster.instances.get(event.data.instance);
    if (record) {
      this.#charge(record, -1);
      if (this.frameworks.launches.size > 0) this.frameworks.endLaunch(record.workload.name);
    }
    this.cluster.apply(event);
    if (record) this.#charge(record, 1);
  }

  #remove(event: SharedEvent & { type: 'GuestRemoved' }): void {
    const record = this.cluster.instances.get(event.data.instance);
    const before = record?.slot ?? -1;
    this.cluster.apply(event);
    if (record && before >= 0 && record.slot < 0) this.shares.chargeShape(this.clientOf(record), record.shape, -1);
  }

  #charge(record: InstanceRecord, by: 1 | -1): void {
    if (record.slot >= 0) this.shares.chargeShape(this.clientOf(record), record.shape, by);
  }

  #describe(event: SharedEvent & { type: 'NodeJoined' | 'NodeCapacityChanged' }): void {
    this.#count(this.cluster.nodes.slotOf(event.data.node), -1);
    this.cluster.apply(event);
    const slot = this.cluster.nodes.slotOf(event.data.node);
    this.#count(slot, 1);
    if (event.type === 'NodeJoined') this.#reserveFixed(slot);
  }

  #lose(event: SharedEvent & { type: 'NodeLost' | 'NodeLeft' }): void {
    const slot = this.cluster.nodes.slotOf(event.data.node);
    const facts = this.cluster.nodes.facts[slot];
    if (facts) {
      for (const record of facts.instances) this.#charge(record, -1);
      this.#count(slot, -1);
    }
    this.cluster.apply(event);
    if (event.type === 'NodeLeft' && facts) this.reservations.forget(slot);
  }

  /** What the node has counts for the whole, while it is there. */
  #count(slot: number, by: 1 | -1): void {
    if (this.cluster.nodes.facts[slot]?.state !== 'ready') return;
    this.shares.changeTotal(Bundle.of(this.cluster.nodes.capacityOf(slot)), by);
  }

  #reserveFixed(slot: number): void {
    const { reservations } = this.config;
    if (reservations.length === 0) return;
    const { id, attributes, state } = this.cluster.nodes.facts[slot]!;
    if (state === 'left') return;
    this.reservations.forgetFixed(slot);
    for (const { owner, node, constraints, resources } of reservations) {
      if (node !== undefined && node !== id) continue;
      if (!constraints.every((constraint) => matches(constraint, attributes))) continue;
      this.reservations.reserve(slot, { owner, resources }, true);
    }
  }
}

/** The framework outside of the stack on whose behalf such instances run, if it is one. */
export function frameworkOf({ user }: Pick<EventData<'InstanceRequested'>, 'user'>): string | undefined {
  return user?.startsWith(frameworkPrefix) ? user : undefined;
}
