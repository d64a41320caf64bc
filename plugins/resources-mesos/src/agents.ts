import { type FitQuery, type InstanceRecord, meets, type NodeTable, type Shape, width } from '@cloudos/placement';
import { Bundle } from './bundle.ts';
import type { PortRange } from './framework-events.ts';
import type { Hold } from './frameworks.ts';
import type { MesosState } from './mesos-state.ts';
import { isFor, unusedByOwner } from './reservations.ts';

/** What a node that is about to be taken down counts less than another, in shares of a node. */
const maintenancePenalty = 1;
/** What a wish that is not met costs, in shares of a node, by its weight. */
const wishPenalty = 0.5;

/**
 * What each agent has for whom, during one round. A role sees what is free, less what others hold (offers without an
 * answer, launches on their way) and less what is set aside for roles that are neither itself nor above it.
 */
export class Agents {
  readonly #state: MesosState;
  readonly #nodes: NodeTable;
  /** Placed in this round, by slot, on nodes with reservations: they are not among the node's instances yet. */
  readonly #placed = new Map<number, InstanceRecord[]>();
  /** What this round holds, and what it does not hold any more. */
  readonly #held = new Map<number, Hold[]>();
  readonly rescinded = new Set<Hold>();

  constructor(state: MesosState) {
    this.#state = state;
    this.#nodes = state.cluster.nodes;
  }

  /** Slot of the best of the first agents that have room for it, -1 when none has. */
  find(record: InstanceRecord): number {
    const { shape } = record;
    if (shape.demand.node !== undefined) {
      const slot = this.#nodes.slotOf(shape.demand.node);
      return slot >= 0 && this.fits(record, slot) ? slot : -1;
    }
    const search = new Search(this, this.#state, record);
    this.#nodes.byFree.search(shape.cpu, shape.memory, 0, search);
    return search.best;
  }

  fits(record: InstanceRecord, slot: number): boolean {
    const { shape, kin } = record;
    if (!this.#nodes.fits(slot, shape)) return false;
    const { company } = this.#state.cluster;
    if (company.binds(kin) && !company.allows(kin, shape.requirement, slot)) return false;
    return this.grants(record, slot);
  }

  /** Whether what is free there is free for the role of the instance. */
  grants({ shape, kin, workload }: InstanceRecord, slot: number): boolean {
    const held = this.#state.frameworks.heldOn(slot) || this.#held.has(slot);
    if (!held && this.#state.reservations.on(slot).length === 0) return true;
    const own = this.#state.frameworks.launches.get(workload.name);
    if (!this.available(slot, kin.profile.owner, own).coversShape(shape)) return false;
    return !this.#holdsOf(slot, own).some(({ ports }) =>
      shape.hostPorts.some((port) => ports.some(({ begin, end }) => port >= begin && port <= end)),
    );
  }

  /** @param except a hold that is for the one who asks */
  available(slot: number, role: string, except?: Hold): Bundle {
    const free = this.#free(slot);
    for (const { amounts } of this.#holdsOf(slot, except)) free.add(amounts, -1);
    if (this.#state.reservations.on(slot).length > 0) {
      for (const [owner, unused] of this.unused(slot)) if (!isFor(owner, role)) free.add(unused, -1);
    }
    return free.floor();
  }

  /** What nobody uses of what is set aside on the agent, by owner. */
  unused(slot: number): Map<string, Bundle> {
    const used = new Map<string, Bundle>();
    const of = (role: string) => {
      let sum = used.get(role);
      if (!sum) {
        sum = new Bundle();
        used.set(role, sum);
      }
      return sum;
    };
    for (const { kin, shape } of this.#nodes.facts[slot]!.instances) {
      of(kin.profile.owner).addShape(shape, 1);
    }
    for (const { kin, shape } of this.#placed.get(slot) ?? []) of(kin.profile.owner).addShape(shape, 1);
    for (const { role, amounts } of this.#holdsOf(slot, undefined)) of(role).add(amounts, 1);
    return unusedByOwner(this.#state.reservations.on(slot), used);
  }

  /** What is set aside and unused of a role and the roles below it, on all agents. */
  unusedReserved(role: string): Bundle | undefined {
    let sum: Bundle | undefined;
    for (const slot of this.#state.reservations.slots) {
      for (const [owner, unused] of this.unused(slot)) {
        if (isFor(role, owner)) sum = (sum ?? new Bundle()).add(unused, 1);
      }
    }
    return sum;
  }

  hold(hold: Hold): void {
    this.#held.set(hold.slot, [...(this.#held.get(hold.slot) ?? []), hold]);
  }

  portsHeld(slot: number): PortRange[] {
    return this.#holdsOf(slot, undefined).flatMap(({ ports }) => ports);
  }

  placed(record: InstanceRecord, slot: number): void {
    if (this.#state.reservations.on(slot).length === 0) return;
    const placed = this.#placed.get(slot);
    if (placed) placed.push(record);
    else this.#placed.set(slot, [record]);
  }

  #holdsOf(slot: number, except: Hold | undefined): Hold[] {
    const before = this.#state.frameworks.heldOn(slot);
    const holds = this.#held.get(slot) ?? [];
    if (!before) return holds;
    return [...before, ...holds].filter((hold) => hold !== except && !this.rescinded.has(hold));
  }

  #free(slot: number): Bundle {
    const free = new Bundle();
    const at = slot * width;
    for (let dimension = 0; dimension < width; dimension++) free.plain[dimension] = this.#nodes.free[at + dimension]!;
    for (const name of this.#nodes.customNames) {
      const amount = this.#nodes.custom(name).freeOf(slot);
      if (amount > 0) free.addCustom(name, amount);
    }
    return free;
  }
}

/** Looks at agents as they come, the fullest that may have room first, until it has compared enough of them. */
class Search implements FitQuery {
  best = -1;
  readonly among: Uint32Array;
  readonly #agents: Agents;
  readonly #state: MesosState;
  readonly #record: InstanceRecord;
  #cost = Number.POSITIVE_INFINITY;
  #left: number;

  constructor(agents: Agents, state: MesosState, record: InstanceRecord) {
    this.#agents = agents;
    this.#state = state;
    this.#record = record;
    this.among = record.shape.requirement.bits;
    this.#left = state.config.candidates;
  }

  visit(slot: number): boolean {
    if (!this.#agents.fits(this.#record, slot)) return true;
    const cost = costOf(this.#state, this.#record, slot);
    if (cost < this.#cost) {
      this.#cost = cost;
      this.best = slot;
    }
    return --this.#left > 0;
  }
}

/** What would be left of the agent, the least first: best fit. Wishes and maintenance that is announced add to it. */
function costOf({ cluster }: MesosState, { shape, kin }: InstanceRecord, slot: number): number {
  let cost = leftover(cluster.nodes, slot, shape);
  if (cluster.nodes.facts[slot]!.maintenance) cost += maintenancePenalty;
  for (const bound of kin.rules) {
    if (bound.rule.required || meets(bound, shape.requirement, slot)) continue;
    cost += wishPenalty * (bound.rule.weight ?? 1);
  }
  return cost;
}

function leftover({ free, inverse }: NodeTable, slot: number, shape: Shape): number {
  const at = slot * width;
  return (
    (free[at]! - shape.cpu) * inverse[at]! +
    (free[at + 1]! - shape.memory) * inverse[at + 1]! +
    (free[at + 2]! - shape.disk) * inverse[at + 2]!
  );
}
