import type { Constraint, ResourceVector } from '@cloudos/sdk';
import { type NodeTraits, Requirement } from './requirement.ts';

/** What decides where an instance can go. */
export interface Demand {
  readonly requests: ResourceVector;
  readonly runtime?: string | undefined;
  readonly constraints?: readonly Constraint[] | undefined;
  /** The only node that will do. */
  readonly node?: string | undefined;
  readonly hostPorts?: readonly number[] | undefined;
}

/**
 * An equivalence class of instances: all that ask for the same, whatever their workload. What is found out for one of
 * them holds for the others (Borg, EuroSys 2015, section 3.4).
 */
export class Shape {
  readonly key: string;
  readonly demand: Demand;
  readonly requirement: Requirement;
  /** Amounts are rounded up to whole units: sums of whole numbers are exact, so giving back undoes taking. */
  readonly cpu: number;
  readonly memory: number;
  readonly disk: number;
  readonly pids: number;
  readonly custom: readonly (readonly [name: string, amount: number])[];
  readonly hostPorts: readonly number[];
  /** Neither custom resources nor ports of the node. */
  readonly plain: boolean;
  /** How many instances have it. */
  holders = 0;

  constructor(key: string, demand: Demand, requirement: Requirement) {
    this.key = key;
    this.demand = demand;
    this.requirement = requirement;
    const { cpuMillis, memoryBytes, diskBytes, pids, custom } = demand.requests;
    this.cpu = Math.ceil(cpuMillis);
    this.memory = Math.ceil(memoryBytes);
    this.disk = Math.ceil(diskBytes);
    this.pids = Math.ceil(pids);
    this.custom = Object.entries(custom ?? {})
      .filter(([, amount]) => amount > 0)
      .map(([name, amount]) => [name, Math.ceil(amount)] as const);
    this.hostPorts = demand.hostPorts ?? [];
    this.plain = this.custom.length === 0 && this.hostPorts.length === 0;
  }

  /** How much of one of the {@link dimensions}, by index. */
  amount(dimension: number): number {
    return dimension === 0 ? this.cpu : dimension === 1 ? this.memory : dimension === 2 ? this.disk : this.pids;
  }

  /** Told without making a key, for all but named custom resources: the usual case. */
  says({ requests, runtime, constraints, node, hostPorts }: Demand): boolean {
    return (
      requests.cpuMillis === this.cpu &&
      requests.memoryBytes === this.memory &&
      requests.diskBytes === this.disk &&
      requests.pids === this.pids &&
      requests.custom === undefined &&
      this.custom.length === 0 &&
      runtime === this.demand.runtime &&
      node === this.demand.node &&
      sameItems(hostPorts ?? none, this.hostPorts) &&
      sameConstraints(constraints ?? none, this.requirement.constraints)
    );
  }
}

const none: readonly never[] = [];

function sameItems<Item>(one: readonly Item[], other: readonly Item[]): boolean {
  return one === other || (one.length === other.length && one.every((item, at) => item === other[at]));
}

function sameConstraints(one: readonly Constraint[], other: readonly Constraint[]): boolean {
  return (
    one === other ||
    (one.length === other.length &&
      one.every(({ attribute, operator, values }, at) => {
        const { attribute: otherAttribute, operator: otherOperator, values: otherValues } = other[at]!;
        return attribute === otherAttribute && operator === otherOperator && sameItems(values, otherValues);
      }))
  );
}

/** Every shape that some instance has at present. */
export class Shapes {
  readonly #shapes = new Map<string, Shape>();
  readonly #requirements = new Map<string, Requirement>();
  readonly #nodes: NodeTraits[];

  /** @param nodes what requirements are matched against, by slot */
  constructor(nodes: NodeTraits[]) {
    this.#nodes = nodes;
  }

  /** The shape of that demand, held once more: give it back with {@link release}. */
  hold(demand: Demand, likely?: Shape): Shape {
    const shape = likely?.says(demand) && likely.holders > 0 ? likely : this.#find(demand);
    shape.holders++;
    return shape;
  }

  release(shape: Shape): void {
    if (--shape.holders > 0) return;
    this.#shapes.delete(shape.key);
    if (--shape.requirement.holders === 0) this.#requirements.delete(shape.requirement.key);
  }

  /** The facts of that node may be different. */
  reviewNode(slot: number): void {
    for (const requirement of this.#requirements.values()) requirement.review(slot);
  }

  #find(demand: Demand): Shape {
    const { requests, runtime, constraints = [], node, hostPorts = [] } = demand;
    const requirementKey = JSON.stringify([runtime ?? null, constraints]);
    const custom = Object.entries(requests.custom ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
    const { cpuMillis, memoryBytes, diskBytes, pids } = requests;
    const key = JSON.stringify([
      cpuMillis,
      memoryBytes,
      diskBytes,
      pids,
      custom,
      node ?? null,
      hostPorts,
      requirementKey,
    ]);
    let shape = this.#shapes.get(key);
    if (shape) return shape;
    let requirement = this.#requirements.get(requirementKey);
    if (!requirement) {
      requirement = new Requirement(requirementKey, runtime, constraints, this.#nodes);
      this.#requirements.set(requirementKey, requirement);
    }
    requirement.holders++;
    shape = new Shape(key, demand, requirement);
    this.#shapes.set(key, shape);
    return shape;
  }
}
