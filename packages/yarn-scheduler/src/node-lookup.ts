import { type FitQuery, type NodeTable, type Shape, width } from '@cloudos/placement';

/** Nodes of one partition for one shape during one round: within a round nodes only become fuller. */
export interface NodeLookup {
  /** Slot of the node that is taken next, -1 when none is feasible. */
  next(): number;
  /** The same among those that a test lets through, however many there are. */
  among(accepts: (slot: number) => boolean): number;
}

/** What a lookup looks at. */
export interface LookupScope {
  readonly nodes: NodeTable;
  readonly shape: Shape;
  /** Slots of the partition, and whether a slot is one of them. */
  readonly slots: Int32Array;
  readonly belongs: (slot: number) => boolean;
  /** Feasible nodes that are kept and compared. */
  readonly candidates: number;
  /** Where a look begins: a hash of what is different each time. */
  readonly seed: number;
}

/** A sample of feasible nodes with their scores; what a placement has changed is scored again. */
class Sample {
  readonly #scope: LookupScope;
  readonly #sign: number;
  readonly #slots: Int32Array;
  readonly #scores: Float64Array;
  readonly #stamps: Uint32Array;
  size = 0;

  constructor(scope: LookupScope, sign: 1 | -1) {
    this.#scope = scope;
    this.#sign = sign;
    const size = Math.min(scope.candidates, scope.slots.length);
    this.#slots = new Int32Array(size);
    this.#scores = new Float64Array(size);
    this.#stamps = new Uint32Array(size);
  }

  get full(): boolean {
    return this.size === this.#slots.length;
  }

  get length(): number {
    return this.#slots.length;
  }

  /** Adds the slot if it is feasible. */
  add(slot: number): void {
    this.#slots[this.size] = slot;
    if (this.#refresh(this.size)) this.size++;
  }

  best(): number {
    const { stamps } = this.#scope.nodes;
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < this.size; ) {
      const slot = this.#slots[at]!;
      if (stamps[slot] !== this.#stamps[at] && !this.#refresh(at)) {
        this.#remove(at);
        continue;
      }
      if (this.#scores[at]! > bestScore) {
        bestScore = this.#scores[at]!;
        best = slot;
      }
      at++;
    }
    return best;
  }

  #refresh(at: number): boolean {
    const { nodes, shape } = this.#scope;
    const slot = this.#slots[at]!;
    if (!nodes.fits(slot, shape)) return false;
    this.#scores[at] = this.#sign * usage(nodes, slot, shape);
    this.#stamps[at] = nodes.stamps[slot]!;
    return true;
  }

  #remove(at: number): void {
    const last = --this.size;
    this.#slots[at] = this.#slots[last]!;
    this.#scores[at] = this.#scores[last]!;
    this.#stamps[at] = this.#stamps[last]!;
  }
}

/** The fullest nodes first: packs. Sampled anew when half of the sample may be used up. */
export class FullestLookup implements NodeLookup {
  readonly #scope: LookupScope;
  #sample: Sample;
  #uses = 0;
  /** The sample holds every node that is feasible at all. */
  #complete = false;
  #seed: number;

  constructor(scope: LookupScope) {
    this.#scope = scope;
    this.#sample = new Sample(scope, 1);
    this.#seed = scope.seed;
  }

  next(): number {
    const stale = this.#sample.size === 0 || this.#uses * 2 >= this.#sample.length;
    if (!this.#complete && stale) this.#fill();
    let slot = this.#sample.best();
    if (slot < 0 && !this.#complete) {
      this.#fill();
      slot = this.#sample.best();
    }
    this.#uses++;
    return slot;
  }

  among(accepts: (slot: number) => boolean): number {
    const sample = new Sample(this.#scope, 1);
    this.#search(sample, accepts);
    return sample.best();
  }

  #fill(): void {
    this.#sample = new Sample(this.#scope, 1);
    this.#uses = 0;
    this.#complete = this.#search(this.#sample, () => true);
  }

  /** @returns whether every feasible node was seen */
  #search(sample: Sample, accepts: (slot: number) => boolean): boolean {
    const { nodes, shape, belongs, slots } = this.#scope;
    const { requirement } = shape;
    this.#seed = scatter(this.#seed);
    let complete = true;
    const visit = (slot: number): boolean => {
      if (sample.full) complete = false;
      else if (belongs(slot) && accepts(slot)) sample.add(slot);
      return complete;
    };
    if (slots.length <= fewNodes && slots.length * 8 < nodes.count) {
      const first = slots.length > 0 ? this.#seed % slots.length : 0;
      for (let step = 0; step < slots.length && complete; step++) visit(slots[(first + step) % slots.length]!);
    } else {
      const query: FitQuery = { among: requirement.bits, visit };
      nodes.byFree.search(shape.cpu, shape.memory, this.#seed, query);
    }
    return complete;
  }
}

/** Nodes of a partition up to which they are looked through one by one instead of by what they have free. */
const fewNodes = 1_024;

/** A prime beyond any number of nodes: steps of it visit every node once before any twice. */
const stride = 1_000_003;

/**
 * The least used first, as the multi-node placement of YARN sorts its candidates (`ResourceUsageMultiNodeLookupPolicy`).
 * A sample, filled up from where the last look ended.
 */
export class LeastUsedLookup implements NodeLookup {
  readonly #scope: LookupScope;
  readonly #sample: Sample;
  readonly #step: number;
  #next: number;
  #unseen: number;

  constructor(scope: LookupScope) {
    const { length } = scope.slots;
    this.#scope = scope;
    this.#sample = new Sample(scope, -1);
    this.#unseen = length;
    this.#next = length > 0 ? scope.seed % length : 0;
    this.#step = length > 0 ? stride % length || 1 : 1;
  }

  next(): number {
    for (;;) {
      if (this.#sample.size * 2 <= this.#sample.length) this.#fill();
      const best = this.#sample.best();
      if (best >= 0 || this.#unseen === 0) return best;
    }
  }

  among(accepts: (slot: number) => boolean): number {
    const sample = new Sample(this.#scope, -1);
    for (const slot of this.#scope.slots) {
      if (sample.full) break;
      if (accepts(slot)) sample.add(slot);
    }
    return sample.best();
  }

  #fill(): void {
    const { slots } = this.#scope;
    while (!this.#sample.full && this.#unseen > 0) {
      this.#unseen--;
      this.#sample.add(slots[this.#next]!);
      this.#next += this.#step;
      if (this.#next >= slots.length) this.#next -= slots.length;
    }
  }
}

/** How full the node would be, less by how much more unevenly its cores and memory would be used. */
export function usage(nodes: NodeTable, slot: number, shape: Shape): number {
  const at = slot * width;
  const { capacity, inverse, free } = nodes;
  const cpuBefore = (capacity[at]! - free[at]!) * inverse[at]!;
  const memoryBefore = (capacity[at + 1]! - free[at + 1]!) * inverse[at + 1]!;
  const cpu = cpuBefore + shape.cpu * inverse[at]!;
  const memory = memoryBefore + shape.memory * inverse[at + 1]!;
  return (cpu + memory) / 2 - (Math.abs(cpu - memory) - Math.abs(cpuBefore - memoryBefore));
}

/** Scatters a counter over 32 bits (the finalizer of MurmurHash3). */
export function scatter(counter: number): number {
  let mixed = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
