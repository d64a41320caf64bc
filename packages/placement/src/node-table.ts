import type { ResourceVector } from '@cloudos/sdk';
import type { InstanceRecord } from './instance-record.ts';
import { readVector, width, writeVector } from './resource-vector.ts';
import type { Shape } from './shape.ts';

export type NodeState = 'ready' | 'lost' | 'left';

/** A named custom resource of one node. */
interface CustomAmount {
  capacity: number;
  used: number;
}

/** What is not needed while searching. */
export interface NodeFacts {
  readonly id: string;
  state: NodeState;
  cordoned: boolean;
  draining: boolean;
  /** NodeDrained was recorded since it is being drained. */
  drained: boolean;
  attributes: Readonly<Record<string, string>>;
  runtimes: ReadonlySet<string>;
  readonly custom: Map<string, CustomAmount>;
  readonly instances: Set<InstanceRecord>;
  /** How many of them are leaving. */
  leaving: number;
}

/**
 * Every node by slot, its numbers in typed arrays: what a search touches lies side by side. A slot belongs to a node
 * name for ever, so the table grows with the number of names ever seen.
 */
export class NodeTable {
  count = 0;
  readonly facts: NodeFacts[] = [];
  /** 1 where something new may be placed. */
  open = new Uint8Array(0);
  capacity = new Float64Array(0);
  /** 1 / capacity, 0 where there is none. */
  inverse = new Float64Array(0);
  used = new Float64Array(0);
  /** What of `used` is about to be given back. */
  leaving = new Float64Array(0);
  /** What is kept for instances for which others were preempted here. */
  reserved = new Float64Array(0);
  /** What may be placed: capacity less used, less what is reserved beyond that which is leaving. */
  free = new Float64Array(0);
  /** Counts changes of the node's sums (modulo 2³²): what was worked out from them holds while it stays. */
  stamps = new Uint32Array(0);
  /** `used` by tier of the instances. */
  readonly tiers: Float64Array[];
  /** By failure domain attribute: the number of the node's value, -1 where it has none. */
  readonly domains: Int32Array[];
  readonly #domainNames: readonly string[];
  readonly #domainValues: Map<string, number>[];
  readonly #slots = new Map<string, number>();

  constructor(tiers: number, domainNames: readonly string[]) {
    this.tiers = Array.from({ length: tiers }, () => new Float64Array(0));
    this.domains = domainNames.map(() => new Int32Array(0));
    this.#domainNames = domainNames;
    this.#domainValues = domainNames.map(() => new Map());
  }

  slotOf(id: string): number {
    return this.#slots.get(id) ?? -1;
  }

  /** Slot of the node, made when it is new. */
  ensure(id: string): number {
    const known = this.#slots.get(id);
    if (known !== undefined) return known;
    const slot = this.count++;
    this.#slots.set(id, slot);
    this.#grow();
    this.facts.push({
      id,
      state: 'left',
      cordoned: false,
      draining: false,
      drained: false,
      attributes: {},
      runtimes: new Set(),
      custom: new Map(),
      instances: new Set(),
      leaving: 0,
    });
    return slot;
  }

  describe(
    slot: number,
    capacity: ResourceVector,
    runtimes: Iterable<string>,
    attributes?: Readonly<Record<string, string>>,
  ): void {
    const facts = this.facts[slot]!;
    writeVector(this.capacity, slot * width, capacity);
    for (let at = slot * width; at < (slot + 1) * width; at++) {
      this.inverse[at] = this.capacity[at]! > 0 ? 1 / this.capacity[at]! : 0;
    }
    for (const amount of facts.custom.values()) amount.capacity = 0;
    for (const [name, amount] of Object.entries(capacity.custom ?? {})) this.#custom(slot, name).capacity = amount;
    facts.runtimes = new Set(runtimes);
    if (attributes) {
      facts.attributes = attributes;
      this.domains.forEach((numbers, domain) => {
        const value = attributes[this.#domainNames[domain]!];
        numbers[slot] = value === undefined ? -1 : numbered(this.#domainValues[domain]!, value);
      });
    }
    this.refresh(slot);
  }

  /** Derives what depends on the state of the node and on its sums. */
  refresh(slot: number): void {
    const { state, cordoned } = this.facts[slot]!;
    this.open[slot] = state === 'ready' && !cordoned ? 1 : 0;
    this.#sum(slot);
  }

  capacityOf(slot: number): ResourceVector {
    const { custom } = this.facts[slot]!;
    const amounts = [...custom]
      .filter(([, { capacity }]) => capacity > 0)
      .map(([name, { capacity }]) => [name, capacity]);
    return {
      ...readVector(this.capacity, slot * width),
      ...(amounts.length > 0 ? { custom: Object.fromEntries(amounts) } : {}),
    };
  }

  /** Whether the node is open, meets the requirement and has free what is asked for (of what is not, it may lack). */
  fits(slot: number, shape: Shape): boolean {
    const at = slot * width;
    return (
      this.open[slot] === 1 &&
      (this.free[at]! >= shape.cpu || shape.cpu === 0) &&
      (this.free[at + 1]! >= shape.memory || shape.memory === 0) &&
      (this.free[at + 2]! >= shape.disk || shape.disk === 0) &&
      (this.free[at + 3]! >= shape.pids || shape.pids === 0) &&
      this.meets(slot, shape) &&
      (shape.custom.length === 0 || shape.custom.every(([name, amount]) => this.customFree(slot, name) >= amount))
    );
  }

  /** The same, blind to what is reserved: for those for whom it is. */
  fitsReserved(slot: number, shape: Shape): boolean {
    const at = slot * width;
    for (let dimension = 0; dimension < width; dimension++) {
      const wanted = shape.amount(dimension);
      if (wanted > 0 && this.capacity[at + dimension]! - this.used[at + dimension]! < wanted) return false;
    }
    return (
      this.open[slot] === 1 &&
      this.meets(slot, shape) &&
      shape.custom.every(([name, amount]) => this.customFree(slot, name) >= amount)
    );
  }

  meets(slot: number, shape: Shape): boolean {
    return shape.requirement.metBy(slot, (at) => this.facts[at]!);
  }

  customFree(slot: number, name: string): number {
    const amount = this.facts[slot]!.custom.get(name);
    return amount ? amount.capacity - amount.used : 0;
  }

  /** Takes the request of an instance from the node. */
  take(slot: number, shape: Shape, tier: number): void {
    add(this.used, slot, shape, 1);
    add(this.tiers[tier]!, slot, shape, 1);
    for (const [name, amount] of shape.custom) this.#custom(slot, name).used += amount;
    this.#sum(slot);
  }

  /** Gives it back. */
  give(slot: number, shape: Shape, tier: number): void {
    add(this.used, slot, shape, -1);
    add(this.tiers[tier]!, slot, shape, -1);
    for (const [name, amount] of shape.custom) this.#custom(slot, name).used -= amount;
    this.#sum(slot);
  }

  /** @param by 1: the instance is leaving; -1: it is gone, or stays */
  leave(slot: number, shape: Shape, by: 1 | -1): void {
    add(this.leaving, slot, shape, by);
    this.#sum(slot);
  }

  /** @param by 1: keep that much for an instance; -1: not any more */
  reserve(slot: number, shape: Shape, by: 1 | -1): void {
    add(this.reserved, slot, shape, by);
    this.#sum(slot);
  }

  #sum(slot: number): void {
    for (let at = slot * width, end = at + width; at < end; at++) {
      const kept = Math.max(0, this.reserved[at]! - this.leaving[at]!);
      this.free[at] = this.capacity[at]! - this.used[at]! - kept;
    }
    this.stamps[slot] = this.stamps[slot]! + 1;
  }

  #custom(slot: number, name: string): CustomAmount {
    const { custom } = this.facts[slot]!;
    let amount = custom.get(name);
    if (!amount) {
      amount = { capacity: 0, used: 0 };
      custom.set(name, amount);
    }
    return amount;
  }

  #grow(): void {
    if (this.count <= this.open.length) return;
    const length = Math.max(64, 2 * this.count);
    this.open = larger(this.open, new Uint8Array(length));
    this.stamps = larger(this.stamps, new Uint32Array(length));
    for (const name of ['capacity', 'inverse', 'used', 'leaving', 'reserved', 'free'] as const) {
      this[name] = larger(this[name], new Float64Array(length * width));
    }
    for (let tier = 0; tier < this.tiers.length; tier++) {
      this.tiers[tier] = larger(this.tiers[tier]!, new Float64Array(length * width));
    }
    for (let domain = 0; domain < this.domains.length; domain++) {
      this.domains[domain] = larger(this.domains[domain]!, new Int32Array(length).fill(-1));
    }
  }
}

function add(sums: Float64Array, slot: number, shape: Shape, by: number): void {
  const at = slot * width;
  sums[at] = sums[at]! + by * shape.cpu;
  sums[at + 1] = sums[at + 1]! + by * shape.memory;
  sums[at + 2] = sums[at + 2]! + by * shape.disk;
  sums[at + 3] = sums[at + 3]! + by * shape.pids;
}

function larger<T extends Uint8Array | Uint32Array | Float64Array | Int32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

function numbered(values: Map<string, number>, value: string): number {
  let number = values.get(value);
  if (number === undefined) {
    number = values.size;
    values.set(value, number);
  }
  return number;
}
