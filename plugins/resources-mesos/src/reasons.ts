import {
  describeAmount,
  dimensions,
  explainUnplaceable,
  type InstanceRecord,
  type Reasons,
  type Shape,
  signatureOf,
} from '@cloudos/placement';
import type { Agents } from './agents.ts';
import type { MesosState } from './mesos-state.ts';

/** What keeps an instance from being considered at all. */
export interface Obstacle {
  readonly constraint: string;
  readonly message: string;
}

/** Says in words why an instance waits. */
export class Explainer {
  readonly #state: MesosState;
  readonly #agents: Agents;
  /** Within a round, by shape and role, where no rule about company has a say. */
  readonly #known = new Map<Shape, Map<string, Reasons>>();

  constructor(state: MesosState, agents: Agents) {
    this.#state = state;
    this.#agents = agents;
  }

  stopped(role: string): Obstacle {
    return { constraint: 'owner', message: `role ${role} takes no new instances` };
  }

  overQuota(role: string, shape: Shape): Obstacle {
    const { limit } = this.#state.quotas.all.get(role)!;
    const { allocated } = this.#state.shares.role(role);
    const bounds = dimensions
      .map((name, at) => ({ name, used: allocated.plain[at]!, most: limit.plain[at]!, wanted: shape.amount(at) }))
      .concat(
        shape.custom.map(([name, wanted]) => {
          const most = limit.custom?.get(name) ?? Number.POSITIVE_INFINITY;
          return { name: name as never, used: allocated.amountOf(name), most, wanted };
        }),
      );
    const bound =
      bounds.find(({ used, most, wanted }) => used + wanted > most) ?? bounds.find(({ most }) => most < Infinity)!;
    const [used, most, more] = [bound.used, bound.most, bound.wanted].map((amount) =>
      describeAmount(bound.name, amount),
    );
    const message = `role ${role} has ${used} of ${most} ${bound.name}, ${more} more would be over its quota`;
    return { constraint: 'quota', message };
  }

  promised(role: string): Obstacle {
    const roles = [...this.#state.quotas.all].filter(([, { guarantee }]) => guarantee).map(([name]) => name);
    const others = roles.filter((name) => name !== role).join(', ');
    return { constraint: 'guarantee', message: `what is free is promised to other roles: ${others}` };
  }

  withoutOffer(framework: string): Obstacle {
    return { constraint: 'offer', message: `framework ${framework} has accepted no offer for it` };
  }

  reasonsFor(record: InstanceRecord, obstacle: Obstacle | undefined): { reasons: Reasons; signature: string } {
    const reasons = obstacle ? this.#heldBack(obstacle) : this.#onAgents(record);
    return { reasons, signature: signatureOf(reasons) };
  }

  #heldBack({ constraint, message }: Obstacle): Reasons {
    const nodes = this.#state.cluster.nodes.facts.filter(({ state }) => state !== 'left').length;
    return [{ constraint, nodes, message }];
  }

  #onAgents(record: InstanceRecord): Reasons {
    const { cluster } = this.#state;
    if (cluster.company.binds(record.kin)) return this.#explained(record);
    const role = record.kin.profile.owner;
    const byRole = this.#known.get(record.shape) ?? new Map<string, Reasons>();
    this.#known.set(record.shape, byRole);
    const reasons = byRole.get(role) ?? this.#explained(record);
    byRole.set(role, reasons);
    return reasons;
  }

  #explained(record: InstanceRecord): Reasons {
    const { cluster, frameworks, reservations } = this.#state;
    const reasons = explainUnplaceable(cluster, record);
    if (reservations.isEmpty && frameworks.offers.size === 0 && frameworks.launches.size === 0) return reasons;
    let [set, offered, all] = [0, 0, 0];
    for (const [slot, { state }] of cluster.nodes.facts.entries()) {
      if (state !== 'left') all++;
      if (!cluster.nodes.fits(slot, record.shape) || this.#agents.grants(record, slot)) continue;
      if (frameworks.heldOn(slot)) offered++;
      else set++;
    }
    return [
      ...reasons,
      ...(offered > 0 ? [reason('offer', offered, all, 'have it in an offer that is not answered yet')] : []),
      ...(set > 0 ? [reason('reservation', set, all, 'have set it aside for other roles')] : []),
    ];
  }
}

function reason(constraint: string, nodes: number, all: number, text: string): Reasons[number] {
  return { constraint, nodes, message: `${nodes} of ${all} nodes ${text}` };
}
