import { width } from '@cloudos/placement';
import type { Agents } from './agents.ts';
import { Bundle } from './bundle.ts';
import type { OfferData, PortRange, ReservedPart } from './framework-events.ts';
import { type Framework, type Hold, refuses } from './frameworks.ts';
import type { Guarantees } from './guarantees.ts';
import type { MesosState } from './mesos-state.ts';
import { isFor } from './reservations.ts';
import type { ShareNode } from './share-tree.ts';

interface Candidate {
  readonly framework: Framework;
  readonly role: string;
  /** Where to look for the next agent. */
  next: number;
  left: number;
}

/** When offers are to be made next, as far as that depends on time: after the interval, and when a filter ends. */
export function offersWakeAt({ frameworks, config }: MesosState, now: number): number {
  let wakeAt = Number.POSITIVE_INFINITY;
  for (const framework of frameworks.all.values()) {
    if (!framework.active || rolesOf(framework).length === 0) continue;
    const intervalEnd = frameworks.offeredAt + config.allocationIntervalMs;
    if (intervalEnd > now) return intervalEnd;
    for (const filters of framework.filters.values()) {
      for (const { until } of filters) if (until > now) wakeAt = Math.min(wakeAt, until);
    }
  }
  return wakeAt;
}

function rolesOf({ data, suppressed }: Framework): string[] {
  return data.roles.filter((role) => !suppressed.has(role));
}

/**
 * Offers to frameworks outside of the stack. The one whose turn it is gets the next agent that it has not refused,
 * with all that is free there for its role. An agent is in one offer at a time, except for what is set aside.
 */
export class OutsideOffers {
  readonly made: OfferData[] = [];
  readonly #state: MesosState;
  readonly #agents: Agents;
  readonly #guarantees: Guarantees;
  readonly #now: number;
  readonly #candidates = new Map<ShareNode, Candidate>();
  readonly #held: Hold[] = [];

  constructor(state: MesosState, agents: Agents, guarantees: Guarantees, now: number) {
    this.#state = state;
    this.#agents = agents;
    this.#guarantees = guarantees;
    this.#now = now;
  }

  /** Those who may be offered something now. */
  clients(promised: boolean): Iterable<ShareNode> {
    const { frameworks, config, quotas, shares } = this.#state;
    if (this.#now < frameworks.offeredAt + config.allocationIntervalMs) return [];
    for (const framework of frameworks.all.values()) {
      if (!framework.active) continue;
      for (const role of rolesOf(framework)) {
        if (quotas.stoppedAt(role) !== undefined || (promised && !this.#guarantees.concerns(role))) continue;
        const client = shares.client(role, framework.id);
        const left = config.offersOutstandingMax - framework.offers.size;
        if (!this.#candidates.has(client)) this.#candidates.set(client, { framework, role, next: 0, left });
      }
    }
    return [...this.#candidates.keys()];
  }

  /** Offers the client the next agent. False when there is none for it. */
  offer(client: ShareNode, promised: boolean): boolean {
    const candidate = this.#candidates.get(client);
    const { nodes } = this.#state.cluster;
    if (!candidate || candidate.left <= 0 || this.made.length >= this.#state.config.offersMax) return false;
    if (promised && !this.#guarantees.concerns(candidate.role)) return false;
    for (; candidate.next < nodes.count; candidate.next++) {
      if (!this.#worthAnOffer(candidate.next, nodes.free)) continue;
      const offer = this.#offerOf(candidate, candidate.next);
      if (!offer) continue;
      this.made.push(offer);
      candidate.left--;
      this.#hold(client, candidate, offer);
      candidate.next++;
      return true;
    }
    return false;
  }

  takeBack(): void {
    for (const { client, amounts } of this.#held) this.#state.shares.charge(client, amounts, -1);
    for (const client of this.#candidates.keys()) this.#state.shares.want(client, false);
  }

  #hold(client: ShareNode, { role, next: slot }: Candidate, { resources, ports }: OfferData): void {
    const hold: Hold = { slot, role, client, amounts: Bundle.of(resources), ports };
    this.#held.push(hold);
    this.#agents.hold(hold);
    this.#guarantees.offered(role, hold.amounts);
    this.#state.shares.charge(client, hold.amounts, 1);
  }

  #worthAnOffer(slot: number, free: Float64Array): boolean {
    const { offerMinCpuMillis, offerMinMemoryBytes } = this.#state.config;
    if (this.#state.cluster.nodes.open[slot] !== 1) return false;
    return free[slot * width]! >= offerMinCpuMillis || free[slot * width + 1]! >= offerMinMemoryBytes;
  }

  #offerOf({ framework, role }: Candidate, slot: number): OfferData | undefined {
    const { cluster, frameworks, config } = this.#state;
    const reserved = this.#reservedFor(slot, role);
    const set = new Bundle();
    for (const { resources } of reserved) set.add(Bundle.of(resources), 1);
    const available = this.#agents.available(slot, role);
    const amounts = this.#bounded(role, available.copy().add(set, -1).floor()).add(set.min(available), 1);
    const { plain } = amounts;
    if (plain[0]! < config.offerMinCpuMillis && plain[1]! < config.offerMinMemoryBytes) return undefined;
    if (refuses(framework, role, slot, amounts, this.#now)) return undefined;
    const { id: node, maintenance } = cluster.nodes.facts[slot]!;
    return {
      offer: `${this.#now.toString(36)}-${(frameworks.offersMade + this.made.length).toString(36)}`,
      framework: framework.id,
      role,
      node,
      resources: amounts.vector,
      ...(reserved.length > 0 && { reserved }),
      ports: this.#portsOf(slot),
      ...(maintenance && { unavailability: { from: maintenance.from, durationMs: maintenance.durationMs } }),
    };
  }

  /** No more than quota allows, and than leaves what is promised to others. */
  #bounded(role: string, amounts: Bundle): Bundle {
    const room = this.#state.quotas.roomFor(role, (path) => this.#agents.unusedReserved(path));
    const left = this.#guarantees.room(role);
    let bounded = amounts;
    if (room) bounded = bounded.min(room);
    if (left) bounded = bounded.min(left);
    return bounded;
  }

  /** What is set aside on the agent for the role or those above it and not used, each by its labels. */
  #reservedFor(slot: number, role: string): ReservedPart[] {
    const reservations = this.#state.reservations.on(slot);
    if (reservations.length === 0) return [];
    const unused = this.#agents.unused(slot);
    return reservations.flatMap(({ owner, amounts, labels, principal, fixed }): ReservedPart[] => {
      const left = unused.get(owner);
      if (!left || !isFor(owner, role)) return [];
      const part = amounts.min(left);
      left.add(part, -1);
      if (part.isEmpty) return [];
      return [
        {
          owner,
          resources: part.vector,
          ...(Object.keys(labels).length > 0 && { labels }),
          ...(principal !== undefined && { principal }),
          fixed,
        },
      ];
    });
  }

  /** The ports that are offered of each agent, less those that are taken. */
  #portsOf(slot: number): PortRange[] {
    const { begin, end } = this.#state.config.offerPorts;
    const taken = [...(this.#state.cluster.nodes.facts[slot]!.ports?.keys() ?? [])]
      .map((port): PortRange => ({ begin: port, end: port }))
      .concat(this.#agents.portsHeld(slot))
      .sort((one, other) => one.begin - other.begin);
    const ranges: PortRange[] = [];
    let from = begin;
    for (const range of taken) {
      if (range.end < from || range.begin > end) continue;
      if (range.begin > from) ranges.push({ begin: from, end: range.begin - 1 });
      from = Math.max(from, range.end + 1);
    }
    return from <= end ? [...ranges, { begin: from, end }] : ranges;
  }
}
