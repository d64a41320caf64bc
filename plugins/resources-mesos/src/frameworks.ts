import { Bundle } from './bundle.ts';
import type { FrameworkEvents, LaunchData, OfferData, PortRange, Unavailability } from './framework-events.ts';
import type { ShareNode, ShareTree } from './share-tree.ts';

/** Resources of a node that somebody holds without an instance: an offer, or a launch that is on its way. */
export interface Hold {
  readonly slot: number;
  readonly role: string;
  readonly client: ShareNode;
  readonly amounts: Bundle;
  readonly ports: readonly PortRange[];
}

export interface Offer extends Hold {
  readonly data: OfferData;
  /** Epoch milliseconds. */
  readonly at: number;
}

export interface Launch extends Hold {
  readonly framework: string;
  readonly data: LaunchData;
  readonly at: number;
}

export interface InverseOffer {
  readonly offer: string;
  readonly framework: string;
  readonly slot: number;
  readonly unavailability: Unavailability;
}

/** What a framework has refused: nothing of that node that is not more than this, until then. */
export interface Filter {
  readonly role: string;
  readonly amounts: Bundle;
  readonly until: number;
}

/** A scheduler outside of the stack. */
export interface Framework {
  readonly id: string;
  data: FrameworkEvents['FrameworkSubscribed'];
  /** It is connected: it gets offers. */
  active: boolean;
  /** Since when it is not, epoch milliseconds. */
  disconnectedAt: number;
  readonly suppressed: Set<string>;
  /** By slot of the node. */
  readonly filters: Map<number, Filter[]>;
  readonly offers: Set<Offer>;
}

/** Frameworks outside of the stack, what is offered to them, and what they are launching. */
export class Frameworks {
  readonly all = new Map<string, Framework>();
  readonly offers = new Map<string, Offer>();
  readonly inverseOffers = new Map<string, InverseOffer>();
  /** By workload. */
  readonly launches = new Map<string, Launch>();
  /** Offers made so far: numbers the next. */
  offersMade = 0;
  /** When offers were made last. */
  offeredAt = Number.NEGATIVE_INFINITY;
  readonly #shares: ShareTree;
  readonly #bySlot = new Map<number, Set<Hold>>();

  constructor(shares: ShareTree) {
    this.#shares = shares;
  }

  get isEmpty(): boolean {
    return this.all.size === 0 && this.launches.size === 0;
  }

  heldOn(slot: number): ReadonlySet<Hold> | undefined {
    return this.#bySlot.get(slot);
  }

  subscribe(data: FrameworkEvents['FrameworkSubscribed']): void {
    const known = this.all.get(data.framework);
    const framework: Framework = known ?? {
      id: data.framework,
      data,
      active: true,
      disconnectedAt: 0,
      suppressed: new Set(),
      filters: new Map(),
      offers: new Set(),
    };
    framework.data = data;
    framework.active = true;
    // a scheduler that subscribes anew knows of no offers
    for (const { data: offer } of [...framework.offers]) this.#endOffer(offer.offer);
    framework.suppressed.clear();
    for (const role of data.suppressed) framework.suppressed.add(role);
    framework.filters.clear();
    this.all.set(framework.id, framework);
  }

  disconnect(id: string, time: number): void {
    const framework = this.all.get(id);
    if (!framework) return;
    framework.active = false;
    framework.disconnectedAt = time;
  }

  remove(id: string): void {
    const framework = this.all.get(id);
    for (const offer of framework?.offers ?? []) this.#endOffer(offer.data.offer);
    for (const { offer } of this.inverseOffersOf(id)) this.inverseOffers.delete(offer);
    for (const [workload, launch] of this.launches) if (launch.framework === id) this.endLaunch(workload);
    this.all.delete(id);
  }

  offer(data: OfferData, slot: number, at: number): void {
    this.offersMade++;
    this.offeredAt = at;
    const framework = this.all.get(data.framework);
    if (!framework || slot < 0) return;
    const client = this.#shares.client(data.role, data.framework);
    const hold = { slot, role: data.role, client, amounts: Bundle.of(data.resources), ports: data.ports };
    const offer: Offer = { ...hold, data, at };
    this.offers.set(data.offer, offer);
    framework.offers.add(offer);
    this.#hold(offer);
  }

  rescind(offers: readonly string[]): void {
    for (const id of offers) this.#endOffer(id);
  }

  decline({ framework, offers, refuseMs }: FrameworkEvents['OffersDeclined'], time: number): void {
    for (const id of offers) {
      const offer = this.offers.get(id);
      if (!offer) continue;
      this.#endOffer(id);
      this.filter(framework, offer.slot, { role: offer.role, amounts: offer.amounts, until: time + refuseMs });
    }
  }

  accept({ framework, offers, launches, refuseMs }: FrameworkEvents['OffersAccepted'], time: number): void {
    const rest = new Map<number, { role: string; amounts: Bundle }>();
    for (const id of offers) {
      const offer = this.offers.get(id);
      if (!offer) continue;
      this.#endOffer(id);
      const left = rest.get(offer.slot);
      if (left) left.amounts.add(offer.amounts, 1);
      else rest.set(offer.slot, { role: offer.role, amounts: offer.amounts.copy() });
      for (const data of launches)
        if (!this.launches.has(data.workload)) this.launch(framework, data, offer.slot, time);
    }
    for (const { resources } of launches)
      for (const { amounts } of rest.values()) amounts.add(Bundle.of(resources), -1);
    for (const [slot, { role, amounts }] of rest) {
      this.filter(framework, slot, { role, amounts: amounts.floor(), until: time + refuseMs });
    }
  }

  launch(framework: string, data: LaunchData, slot: number, at: number): void {
    const client = this.#shares.client(data.role, framework);
    const ports = data.ports.map((port) => ({ begin: port, end: port }));
    const launch = { slot, role: data.role, client, amounts: Bundle.of(data.resources), ports, framework, data, at };
    this.launches.set(data.workload, launch);
    this.#hold(launch);
  }

  /** There is an instance of it now, or there will be none. */
  endLaunch(workload: string): void {
    const launch = this.launches.get(workload);
    if (!launch) return;
    this.launches.delete(workload);
    this.#release(launch);
  }

  filter(id: string, slot: number, filter: Filter): void {
    const framework = this.all.get(id);
    if (!framework) return;
    const filters = framework.filters
      .get(slot)
      ?.filter(({ role, until }) => role !== filter.role || until > filter.until);
    framework.filters.set(slot, [...(filters ?? []), filter]);
  }

  revive({ framework: id, roles }: FrameworkEvents['OffersRevived']): void {
    const framework = this.all.get(id);
    if (!framework) return;
    for (const role of roles) framework.suppressed.delete(role);
    for (const [slot, filters] of framework.filters) {
      const left = filters.filter(({ role }) => !roles.includes(role));
      if (left.length > 0) framework.filters.set(slot, left);
      else framework.filters.delete(slot);
    }
  }

  suppress({ framework, roles }: FrameworkEvents['OffersSuppressed']): void {
    for (const role of roles) this.all.get(framework)?.suppressed.add(role);
  }

  inverse(offer: InverseOffer): void {
    this.offersMade++;
    this.inverseOffers.set(offer.offer, offer);
  }

  inverseOffersOf(framework: string): InverseOffer[] {
    return [...this.inverseOffers.values()].filter((offer) => offer.framework === framework);
  }

  #endOffer(id: string): void {
    const offer = this.offers.get(id);
    if (!offer) return;
    this.offers.delete(id);
    this.all.get(offer.data.framework)?.offers.delete(offer);
    this.#release(offer);
  }

  #hold(hold: Hold): void {
    let holds = this.#bySlot.get(hold.slot);
    if (!holds) {
      holds = new Set();
      this.#bySlot.set(hold.slot, holds);
    }
    holds.add(hold);
    this.#shares.charge(hold.client, hold.amounts, 1);
  }

  #release(hold: Hold): void {
    const holds = this.#bySlot.get(hold.slot);
    holds?.delete(hold);
    if (holds?.size === 0) this.#bySlot.delete(hold.slot);
    this.#shares.charge(hold.client, hold.amounts, -1);
  }
}

/** Whether the framework wants nothing of that role on the node now, or nothing that is not more than that. */
export function refuses(framework: Framework, role: string, slot: number, amounts: Bundle, now: number): boolean {
  const filters = framework.filters.get(slot);
  if (!filters) return false;
  return filters.some((filter) => filter.role === role && filter.until > now && filter.amounts.covers(amounts));
}
