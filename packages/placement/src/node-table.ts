import type { ResourceVector } from '@cloudos/sdk';
import { CustomColumn } from './custom-column.ts';
import { FitIndex } from './fit-index.ts';
import type { NodeFacts } from './node-facts.ts';
import { Residents } from './residents.ts';
import { readVector, width, writeVector } from './resource-vector.ts';
import { Scope } from './scope.ts';
import type { Shape } from './shape.ts';

const noPorts: ReadonlyMap<number, number> = new Map();

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
  /** What of `used` is not expected to be needed: cpu and memory only. */
  idle = new Float64Array(0);
  /** `free` and what is idle: for those who may be put out when it is needed after all. */
  spare = new Float64Array(0);
  /** Counts changes of the node's sums (modulo 2³²): what was worked out from them holds while it stays. */
  stamps = new Uint32Array(0);
  /** Counts changes of any node's sums. */
  changes = 0;
  /** `used` by tier of the instances. */
  readonly tiers: Float64Array[];
  /** The open nodes by what they have free, and by what they have to spare. */
  readonly byFree = new FitIndex();
  readonly bySpare = new FitIndex();
  /** The attributes over whose values workloads are spread, by number. */
  readonly domains: readonly Scope[];
  readonly #scopes = new Map<string, Scope>();
  readonly #custom = new Map<string, CustomColumn>();
  readonly #slots = new Map<string, number>();
  readonly #lends: boolean;

  /** @param lends whether what is idle is lent: without it `spare` is `free` */
  constructor(tiers: number, domainNames: readonly string[], lends = false) {
    this.tiers = Array.from({ length: tiers }, () => new Float64Array(0));
    this.domains = domainNames.map((name) => this.scope(name));
    this.#lends = lends;
  }

  /** @param likely a slot that it may well be: told without a look-up */
  slotOf(id: string, likely = -1): number {
    if (likely >= 0 && this.facts[likely]!.id === id) return likely;
    return this.#slots.get(id) ?? -1;
  }

  /** What groups nodes by that attribute; `node` for each by itself. */
  scope(attribute: string): Scope {
    let scope = this.#scopes.get(attribute);
    if (!scope) {
      scope = new Scope(attribute);
      this.#scopes.set(attribute, scope);
      scope.grow(this.open.length);
      for (let slot = 0; slot < this.count; slot++) scope.describe(slot, this.#domainOf(slot, attribute));
    }
    return scope;
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
      ports: undefined,
      images: undefined,
      instances: new Residents(),
      leaving: 0,
      maintenance: undefined,
    });
    for (const scope of this.#scopes.values()) scope.describe(slot, this.#domainOf(slot, scope.attribute));
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
      // whole units, as requests are: sums stay exact
      this.capacity[at] = Math.floor(this.capacity[at]!);
      this.inverse[at] = this.capacity[at]! > 0 ? 1 / this.capacity[at]! : 0;
    }
    for (const column of this.#custom.values()) column.setCapacity(slot, 0);
    for (const [name, amount] of Object.entries(capacity.custom ?? {})) this.custom(name).setCapacity(slot, amount);
    facts.runtimes = new Set(runtimes);
    if (attributes) {
      facts.attributes = attributes;
      for (const scope of this.#scopes.values()) scope.describe(slot, this.#domainOf(slot, scope.attribute));
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
    const amounts = [...this.#custom]
      .map(([name, column]) => [name, column.capacityOf(slot)] as const)
      .filter(([, capacity]) => capacity > 0);
    return {
      ...readVector(this.capacity, slot * width),
      ...(amounts.length > 0 ? { custom: Object.fromEntries(amounts) } : {}),
    };
  }

  /**
   * Whether the node is open, meets the requirement and has free what is asked for (of what is not, it may lack).
   * @param free what counts as free: `free`, or `spare`
   */
  fits(slot: number, shape: Shape, free: Float64Array = this.free): boolean {
    const at = slot * width;
    return (
      this.open[slot] === 1 &&
      (free[at]! >= shape.cpu || shape.cpu === 0) &&
      (free[at + 1]! >= shape.memory || shape.memory === 0) &&
      (free[at + 2]! >= shape.disk || shape.disk === 0) &&
      (free[at + 3]! >= shape.pids || shape.pids === 0) &&
      shape.requirement.metBy(slot) &&
      (shape.plain || this.#fitsRest(slot, shape))
    );
  }

  #fitsRest(slot: number, shape: Shape): boolean {
    return (
      shape.custom.every(([name, amount]) => this.custom(name).freeOf(slot) >= amount) &&
      this.heldPorts(slot, shape).length === 0
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
      shape.custom.every(([name, amount]) => this.custom(name).leftOf(slot) >= amount) &&
      shape.hostPorts.every((port) => (this.facts[slot]!.ports?.get(port) ?? 0) <= 1)
    );
  }

  meets(slot: number, shape: Shape): boolean {
    return shape.requirement.metBy(slot);
  }

  /** Which of the ports that the shape asks for are taken on the node. */
  heldPorts(slot: number, shape: Shape): readonly number[] {
    if (shape.hostPorts.length === 0) return shape.hostPorts;
    const held = this.facts[slot]!.ports ?? noPorts;
    return shape.hostPorts.filter((port) => held.has(port));
  }

  /** The named custom resources that some node has, or has had. */
  get customNames(): Iterable<string> {
    return this.#custom.keys();
  }

  /** How much of each node of a named custom resource. */
  custom(name: string): CustomColumn {
    let column = this.#custom.get(name);
    if (!column) {
      column = new CustomColumn(this.open.length);
      this.#custom.set(name, column);
    }
    return column;
  }

  /** Takes the request of an instance from the node. */
  take(slot: number, shape: Shape, tier: number): void {
    this.#use(slot, shape, tier, 1);
  }

  /** Gives it back. */
  give(slot: number, shape: Shape, tier: number): void {
    this.#use(slot, shape, tier, -1);
  }

  /** @param by 1: the instance is leaving; -1: it is gone, or stays */
  leave(slot: number, shape: Shape, by: 1 | -1): void {
    add(this.leaving, slot, shape, by);
    for (const [name, amount] of shape.custom) this.custom(name).leave(slot, by * amount);
    this.#sum(slot);
  }

  /** @param by 1: keep that much for an instance; -1: not any more */
  reserve(slot: number, shape: Shape, by: 1 | -1): void {
    add(this.reserved, slot, shape, by);
    for (const [name, amount] of shape.custom) this.custom(name).reserve(slot, by * amount);
    if (shape.hostPorts.length > 0) this.#holdPorts(slot, shape, by);
    this.#sum(slot);
  }

  /** That much more of what is used is idle (less, where it is negative). */
  lend(slot: number, cpuMillis: number, memoryBytes: number): void {
    this.idle[slot * width] = this.idle[slot * width]! + cpuMillis;
    this.idle[slot * width + 1] = this.idle[slot * width + 1]! + memoryBytes;
    this.#sum(slot);
  }

  #use(slot: number, shape: Shape, tier: number, by: 1 | -1): void {
    const { used, free } = this;
    const ofTier = this.tiers[tier]!;
    const at = slot * width;
    const cpu = by * shape.cpu;
    const memory = by * shape.memory;
    const disk = by * shape.disk;
    const pids = by * shape.pids;
    used[at] = used[at]! + cpu;
    used[at + 1] = used[at + 1]! + memory;
    used[at + 2] = used[at + 2]! + disk;
    used[at + 3] = used[at + 3]! + pids;
    ofTier[at] = ofTier[at]! + cpu;
    ofTier[at + 1] = ofTier[at + 1]! + memory;
    ofTier[at + 2] = ofTier[at + 2]! + disk;
    ofTier[at + 3] = ofTier[at + 3]! + pids;
    // what #sum would come to: amounts are whole numbers, so nothing is lost by adding them up
    free[at] = free[at]! - cpu;
    free[at + 1] = free[at + 1]! - memory;
    free[at + 2] = free[at + 2]! - disk;
    free[at + 3] = free[at + 3]! - pids;
    if (!shape.plain) {
      for (const [name, amount] of shape.custom) this.custom(name).use(slot, by * amount);
      this.#holdPorts(slot, shape, by);
    }
    this.#file(slot);
  }

  #holdPorts(slot: number, shape: Shape, by: 1 | -1): void {
    const facts = this.facts[slot]!;
    for (const port of shape.hostPorts) {
      facts.ports ??= new Map();
      const held = (facts.ports.get(port) ?? 0) + by;
      if (held > 0) facts.ports.set(port, held);
      else facts.ports.delete(port);
    }
    if (facts.ports?.size === 0) facts.ports = undefined;
  }

  #sum(slot: number): void {
    const at = slot * width;
    const { capacity, used, reserved, leaving, free } = this;
    for (let index = at; index < at + width; index++) {
      const kept = reserved[index]! - leaving[index]!;
      free[index] = capacity[index]! - used[index]! - Math.max(0, kept);
    }
    this.#file(slot);
  }

  /** Its sums are new: the indexes are told. */
  #file(slot: number): void {
    const at = slot * width;
    const { free } = this;
    this.stamps[slot] = this.stamps[slot]! + 1;
    this.changes++;
    const open = this.open[slot] === 1;
    this.byFree.put(slot, open, free[at]!, free[at + 1]!);
    if (!this.#lends) return;
    for (let index = at; index < at + width; index++) this.spare[index] = free[index]! + this.idle[index]!;
    this.bySpare.put(slot, open, this.spare[at]!, this.spare[at + 1]!);
  }

  #domainOf(slot: number, attribute: string): string | undefined {
    const { id, attributes } = this.facts[slot]!;
    if (attribute === 'node') return id;
    return Object.hasOwn(attributes, attribute) ? attributes[attribute] : undefined;
  }

  #grow(): void {
    if (this.count <= this.open.length) return;
    const length = Math.max(64, 2 * this.count);
    this.open = larger(this.open, new Uint8Array(length));
    this.stamps = larger(this.stamps, new Uint32Array(length));
    for (const name of ['capacity', 'inverse', 'used', 'leaving', 'reserved', 'free', 'idle'] as const) {
      this[name] = larger(this[name], new Float64Array(length * width));
    }
    this.spare = this.#lends ? larger(this.spare, new Float64Array(length * width)) : this.free;
    for (let tier = 0; tier < this.tiers.length; tier++) {
      this.tiers[tier] = larger(this.tiers[tier]!, new Float64Array(length * width));
    }
    for (const scope of this.#scopes.values()) scope.grow(length);
    for (const column of this.#custom.values()) column.grow(length);
    this.byFree.grow(length);
    if (this.#lends) this.bySpare.grow(length);
  }
}

function add(sums: Float64Array, slot: number, shape: Shape, by: number): void {
  const at = slot * width;
  sums[at] = sums[at]! + by * shape.cpu;
  sums[at + 1] = sums[at + 1]! + by * shape.memory;
  sums[at + 2] = sums[at + 2]! + by * shape.disk;
  sums[at + 3] = sums[at + 3]! + by * shape.pids;
}

function larger<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
