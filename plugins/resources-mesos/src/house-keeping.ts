import { event, type NewEvent } from '@cloudos/sdk';
import { frameworkEvent } from './framework-events.ts';
import type { Framework } from './frameworks.ts';
import { frameworkOf, type MesosState } from './mesos-state.ts';

interface Due {
  readonly events: readonly NewEvent[];
  readonly wakeAt?: number;
}

/** What time has brought about, apart from maintenance: and when the next is due. */
export function houseKeeping(state: MesosState, now: number): Due {
  const chores = new Chores(state, now);
  return { events: chores.events, ...(Number.isFinite(chores.wakeAt) && { wakeAt: chores.wakeAt }) };
}

class Chores {
  readonly events: NewEvent[] = [];
  wakeAt = Number.POSITIVE_INFINITY;
  readonly #state: MesosState;
  readonly #now: number;

  constructor(state: MesosState, now: number) {
    this.#state = state;
    this.#now = now;
    this.#endQuotas();
    if (state.frameworks.isEmpty) return;
    for (const framework of state.frameworks.all.values()) this.#review(framework);
    this.#releaseLaunches();
    this.#inverseOffers();
  }

  /** Whether that time has come; if not, it is when to wake. */
  #due(at: number): boolean {
    if (at <= this.#now) return true;
    this.wakeAt = Math.min(this.wakeAt, at);
    return false;
  }

  #endQuotas(): void {
    for (const { data } of this.#state.quotas.all.values()) {
      if (data.until !== undefined && this.#due(data.until)) {
        this.events.push(event('QuotaRemoved', { owner: data.owner }));
      }
    }
  }

  #review(framework: Framework): void {
    const { config, cluster } = this.#state;
    const { id, offers, active, disconnectedAt, data } = framework;
    if (!active && this.#due(disconnectedAt + data.failoverTimeoutMs)) {
      this.events.push(frameworkEvent('FrameworkRemoved', { framework: id, reason: 'it did not come back in time' }));
      return;
    }
    const byReason = new Map<string, string[]>();
    for (const { slot, at, data: offer } of offers) {
      let reason: string | undefined;
      if (!active) reason = 'the framework is not connected';
      else if (cluster.nodes.open[slot] !== 1) reason = 'the agent takes nothing new';
      else if (this.#due(at + config.offerTimeoutMs)) reason = 'it was not answered in time';
      if (reason !== undefined) byReason.set(reason, [...(byReason.get(reason) ?? []), offer.offer]);
    }
    for (const [reason, gone] of byReason) {
      this.events.push(frameworkEvent('OffersRescinded', { framework: id, offers: gone, reason }));
    }
  }

  #releaseLaunches(): void {
    const { frameworks, cluster, config } = this.#state;
    for (const { framework, slot, at, data } of frameworks.launches.values()) {
      const lost = cluster.nodes.facts[slot]?.state !== 'ready';
      if (!lost && !this.#due(at + config.launchTimeoutMs)) continue;
      const reason = lost ? 'the agent is lost' : 'no instance of it was requested in time';
      this.events.push(frameworkEvent('LaunchesReleased', { framework, workloads: [data.workload], reason }));
    }
  }

  /** Frameworks that have tasks on an agent which will be taken down are asked to give it back. */
  #inverseOffers(): void {
    const { frameworks, cluster } = this.#state;
    const known = new Set<string>();
    for (const { offer, framework, slot, unavailability } of frameworks.inverseOffers.values()) {
      const maintenance = cluster.nodes.facts[slot]?.maintenance;
      const same = maintenance?.from === unavailability.from && maintenance.durationMs === unavailability.durationMs;
      if (same) known.add(`${framework} ${slot}`);
      else this.events.push(frameworkEvent('InverseOffersRescinded', { framework, offers: [offer] }));
    }
    const offers: {
      offer: string;
      framework: string;
      node: string;
      unavailability: { from: number; durationMs: number };
    }[] = [];
    for (const slot of cluster.maintained) {
      const { id: node, maintenance, instances } = cluster.nodes.facts[slot]!;
      const owners = new Set([...instances].map(({ kin }) => frameworkOf(kin.profile)));
      for (const framework of owners) {
        if (framework === undefined || !frameworks.all.get(framework)?.active) continue;
        if (known.has(`${framework} ${slot}`)) continue;
        const { from, durationMs } = maintenance!;
        const offer = `${this.#now.toString(36)}-${(frameworks.offersMade + offers.length).toString(36)}`;
        offers.push({ offer, framework, node, unavailability: { from, durationMs } });
      }
    }
    if (offers.length > 0) this.events.push(frameworkEvent('InverseOffersMade', { offers }));
  }
}
