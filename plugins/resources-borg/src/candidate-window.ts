import {
  type Cluster,
  type FitIndex,
  type FitQuery,
  type InstanceRecord,
  type Kin,
  type NodeTable,
  type Shape,
  visitWord,
} from '@cloudos/placement';
import { attraction, crowding, domainCrowding, packing } from './score.ts';

/** Nodes that meet a requirement, up to which they are looked through one by one instead of by what they have free. */
const fewNodes = 1_024;

/**
 * Candidates for one shape during one round: relaxed randomisation, equivalence classes and score caching of Borg
 * (EuroSys 2015, section 3.4) in one. A sample of feasible nodes, the fullest first, is kept and scored once for all
 * instances of the shape; only what a placement has changed is scored again. Within a round nodes only become fuller.
 */
export class CandidateWindow implements FitQuery {
  readonly #cluster: Cluster;
  readonly #nodes: NodeTable;
  readonly #shape: Shape;
  readonly #tier: number;
  readonly #index: FitIndex;
  readonly #free: Float64Array;
  readonly #slots: Int32Array;
  readonly #packed: Float64Array;
  readonly #stamps: Uint32Array;
  /** What of the score depends on whose instance it is: how near its like is, and what draws it there. */
  readonly #crowded: Float64Array;
  readonly #drawn: Float64Array;
  #size = 0;
  /** Placements since the sample was taken. */
  #uses = 0;
  /** The sample holds every node that is feasible at all. */
  #complete = false;
  #seed: number;
  /** Whose part of the scores is worked out, when that many of its workload were placed, and the slot chosen since. */
  #kin: Kin | undefined;
  #placed = -1;
  #chosen = -1;
  /** Only nodes that the company of this instance allows are sampled. */
  #only: InstanceRecord | undefined;

  /** @param seed where the sample begins: a hash of what is different each time */
  constructor(cluster: Cluster, { shape, tier }: InstanceRecord, sampleSize: number, seed: number) {
    const { nodes } = cluster;
    this.#cluster = cluster;
    this.#nodes = nodes;
    this.#shape = shape;
    this.#tier = tier;
    const borrows = tier === 0 && cluster.options.lending !== undefined;
    this.#index = borrows ? nodes.bySpare : nodes.byFree;
    this.#free = borrows ? nodes.spare : nodes.free;
    const size = Math.min(sampleSize, nodes.count);
    this.#slots = new Int32Array(size);
    this.#packed = new Float64Array(size);
    this.#stamps = new Uint32Array(size);
    this.#crowded = new Float64Array(size);
    this.#drawn = new Float64Array(size);
    this.#seed = seed;
  }

  get among(): Uint32Array {
    return this.#shape.requirement.bits;
  }

  /** Slot of the best candidate, -1 when no node is feasible. */
  best(record: InstanceRecord): number {
    const picky = this.#cluster.company.binds(record.kin);
    if (picky || this.#stale) this.#sample(picky ? record : undefined);
    let slot = this.#pick(record.kin);
    if (slot < 0 && !this.#complete) {
      this.#sample(picky ? record : undefined);
      slot = this.#pick(record.kin);
    }
    this.#uses++;
    return slot;
  }

  /** The sample may be used up: fuller nodes than those left in it may have come within reach. */
  get #stale(): boolean {
    return this.#only !== undefined || (!this.#complete && (this.#size === 0 || this.#uses >= this.#slots.length));
  }

  #pick(kin: Kin): number {
    this.#attune(kin);
    const { stamps } = this.#nodes;
    const inverse = kin.workload.placed > 0 ? 1 / kin.workload.placed : 0;
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < this.#size; ) {
      if (stamps[this.#slots[at]!] !== this.#stamps[at] && !this.#refresh(at)) {
        this.#remove(at);
        continue;
      }
      const score = this.#packed[at]! + this.#drawn[at]! - this.#crowded[at]! * inverse;
      if (score > bestScore) {
        bestScore = score;
        best = at;
      }
      at++;
    }
    if (best < 0) return -1;
    this.#chosen = this.#slots[best]!;
    return this.#chosen;
  }

  /** Brings what depends on the kin up to date. Mostly that is one more instance, on the slot chosen last. */
  #attune(kin: Kin): void {
    const { workload } = kin;
    if (this.#kin === kin && workload.placed === this.#placed) return;
    const next = this.#kin === kin && workload.placed === this.#placed + 1 && this.#chosen >= 0;
    this.#kin = kin;
    this.#placed = workload.placed;
    for (let at = 0; at < this.#size; at++) {
      const slot = this.#slots[at]!;
      if (!next) this.#score(at);
      else if (slot === this.#chosen) this.#crowded[at] = crowding(this.#nodes, slot, workload);
      else this.#crowded[at] = this.#crowded[at]! + domainCrowding(this.#nodes, slot, this.#chosen);
    }
    this.#chosen = -1;
  }

  #score(at: number): void {
    const slot = this.#slots[at]!;
    this.#crowded[at] = crowding(this.#nodes, slot, this.#kin!.workload);
    this.#drawn[at] = attraction(this.#cluster, slot, this.#kin!, this.#shape.requirement);
  }

  #sample(only: InstanceRecord | undefined): void {
    this.#size = 0;
    this.#uses = 0;
    this.#only = only;
    this.#kin = undefined;
    this.#seed = scatter(this.#seed);
    this.#complete = true;
    const { requirement, cpu, memory } = this.#shape;
    if (requirement.count <= fewNodes && requirement.count * 8 < this.#nodes.count) this.#searchFew();
    else this.#index.search(cpu, memory, this.#seed, this);
  }

  #searchFew(): void {
    const words = (this.#nodes.count + 31) >>> 5;
    const first = this.#seed % words;
    for (let step = 0; step < words; step++) {
      const word = (first + step) % words;
      if (!visitWord(this.among[word]!, word << 5, this)) return;
    }
  }

  visit(slot: number): boolean {
    const only = this.#only;
    if (this.#size === this.#slots.length) {
      this.#complete = false;
      return false;
    }
    this.#slots[this.#size] = slot;
    if (!this.#refresh(this.#size)) return true;
    if (only && !this.#cluster.company.allows(only.kin, this.#shape.requirement, slot)) return true;
    this.#size++;
    return true;
  }

  /** Works out what depends on the node's sums. False when the node is not feasible any more. */
  #refresh(at: number): boolean {
    const slot = this.#slots[at]!;
    if (!this.#nodes.fits(slot, this.#shape, this.#free)) return false;
    this.#packed[at] = packing(this.#nodes, slot, this.#shape, this.#tier);
    this.#stamps[at] = this.#nodes.stamps[slot]!;
    return true;
  }

  #remove(at: number): void {
    const last = --this.#size;
    for (const column of [this.#slots, this.#packed, this.#stamps, this.#crowded, this.#drawn]) {
      column[at] = column[last]!;
    }
  }
}

/** Scatters a counter over 32 bits (the finalizer of MurmurHash3). */
export function scatter(counter: number): number {
  let mixed = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
