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
import { attraction, crowding, packing, weights } from './score.ts';

/** Nodes that meet a requirement, up to which they are looked through one by one instead of by what they have free. */
const fewNodes = 1_024;

/** How often a sample is chosen from, by its size, before it is taken anew. */
const usesOfSample = 2;

/**
 * Candidates for one shape during one round: relaxed randomisation, equivalence classes and score caching of Borg
 * (EuroSys 2015, section 3.4) in one. A sample of feasible nodes, the fullest first, is kept and scored once for all
 * instances of the shape; only what a placement has changed is scored again. Within a round nodes only become fuller.
 */
export class CandidateWindow implements FitQuery {
  readonly #size: number;
  readonly #slots: Int32Array;
  readonly #stamps: Uint32Array;
  readonly #packed: Float64Array;
  /** What of the score depends on whose instance it is: what draws it there, and how near its like is. */
  readonly #drawn: Float64Array;
  readonly #crowded: Float64Array;
  /** By candidate and failure domain: the number of the domain. */
  readonly #domains: Int32Array;
  #cluster!: Cluster;
  #nodes!: NodeTable;
  #shape!: Shape;
  #tier = 0;
  #index!: FitIndex;
  #free!: Float64Array;
  #seed = 0;
  #most = 0;
  #length = 0;
  /** Placements since the sample was taken. */
  #uses = 0;
  /** The sample holds every node that is feasible at all. */
  #complete = false;
  /** What the nodes counted of changes when the sample was brought up to date last. */
  #changes = -1;
  /** Whose part of the scores is worked out, when that many of its workload were placed, and the candidate chosen since. */
  #kin: Kin | undefined;
  #placed = -1;
  #chosen = -1;
  /** Only nodes that the company of this instance allows are sampled. */
  #only: InstanceRecord | undefined;

  /**
   * @param size feasible nodes that are compared
   * @param domains attributes that name failure domains: how many
   */
  constructor(size: number, domains: number) {
    this.#size = size;
    this.#slots = new Int32Array(size);
    this.#stamps = new Uint32Array(size);
    this.#packed = new Float64Array(size);
    this.#drawn = new Float64Array(size);
    this.#crowded = new Float64Array(size);
    this.#domains = new Int32Array(size * domains);
  }

  /**
   * Begins anew, with nothing in it.
   * @param seed where the sample begins: a hash of what is different each time
   */
  begin(cluster: Cluster, { shape, tier }: InstanceRecord, seed: number): void {
    const { nodes } = cluster;
    this.#cluster = cluster;
    this.#nodes = nodes;
    this.#shape = shape;
    this.#tier = tier;
    const borrows = tier === 0 && cluster.options.lending !== undefined;
    this.#index = borrows ? nodes.bySpare : nodes.byFree;
    this.#free = borrows ? nodes.spare : nodes.free;
    this.#most = Math.min(this.#size, nodes.count);
    this.#seed = seed;
    this.#length = 0;
    this.#uses = 0;
    this.#complete = false;
    this.#kin = undefined;
    this.#only = undefined;
  }

  get among(): Uint32Array {
    return this.#shape.requirement.bits;
  }

  /** Slot of the best candidate, -1 when no node is feasible. */
  best(record: InstanceRecord): number {
    const only = this.#cluster.company.binds(record.kin) ? record : undefined;
    if (this.#isStale(only)) this.#sample(only);
    let slot = this.#pick(record.kin);
    if (slot < 0 && !this.#complete) {
      this.#sample(only);
      slot = this.#pick(record.kin);
    }
    this.#uses++;
    return slot;
  }

  /** The sample may be used up: fuller nodes than those left in it may have come within reach. */
  #isStale(only: InstanceRecord | undefined): boolean {
    if (this.#only !== only && (this.#only?.kin !== only?.kin || !onlyKeepsAway(only!.kin))) return true;
    return !this.#complete && (this.#length === 0 || this.#uses >= this.#most * usesOfSample);
  }

  #pick(kin: Kin): number {
    if (this.#kin !== kin || kin.workload.placed !== this.#placed) this.#attune(kin);
    if (this.#nodes.changes !== this.#changes) this.#update();
    if (this.#only) this.#leaveOutShunned(kin);
    const inverse = this.#placed > 0 ? 1 / this.#placed : 0;
    const packed = this.#packed;
    const drawn = this.#drawn;
    const crowded = this.#crowded;
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < this.#length; at++) {
      const score = packed[at]! + drawn[at]! - crowded[at]! * inverse;
      if (score > bestScore) {
        bestScore = score;
        best = at;
      }
    }
    this.#chosen = best;
    return best < 0 ? -1 : this.#slots[best]!;
  }

  /** Scores again what placements have changed: mostly the candidate chosen last and no other. */
  #update(): void {
    const { changes, stamps } = this.#nodes;
    const last = this.#chosen;
    if (last >= 0 && last < this.#length && changes === this.#changes + 1) {
      if (stamps[this.#slots[last]!] !== this.#stamps[last]) {
        this.#changes = changes;
        if (!this.#refresh(last)) this.#remove(last);
        return;
      }
    }
    this.#changes = changes;
    for (let at = 0; at < this.#length; ) {
      if (stamps[this.#slots[at]!] !== this.#stamps[at] && !this.#refresh(at)) this.#remove(at);
      else at++;
    }
  }

  /** Brings what depends on the kin up to date. Mostly that is one more instance, on the candidate chosen last. */
  #attune(kin: Kin): void {
    const { workload } = kin;
    const { placed } = workload;
    const last = this.#chosen;
    if (this.#kin === kin && placed === this.#placed + 1 && last >= 0 && last < this.#length) this.#join(last);
    else for (let at = 0; at < this.#length; at++) this.#score(at, kin);
    this.#kin = kin;
    this.#placed = placed;
  }

  /** One more of the kin is on that candidate: what {@link crowding} would say, without asking it. */
  #join(last: number): void {
    const domains = this.#domains;
    const crowded = this.#crowded;
    const count = this.#nodes.domains.length;
    for (let domain = 0; domain < count; domain++) {
      const value = domains[last * count + domain]!;
      if (value < 0) continue;
      for (let at = 0, from = domain; at < this.#length; at++, from += count) {
        if (domains[from] === value) crowded[at] = crowded[at]! + weights.sameDomain;
      }
    }
    crowded[last] = crowded[last]! + weights.sameNode;
  }

  #score(at: number, kin: Kin): void {
    const slot = this.#slots[at]!;
    this.#crowded[at] = crowding(this.#nodes, slot, kin.workload);
    this.#drawn[at] = attraction(this.#cluster, slot, kin, this.#shape.requirement);
  }

  #leaveOutShunned(kin: Kin): void {
    const { company } = this.#cluster;
    for (let at = 0; at < this.#length; ) {
      if (company.allows(kin, this.#shape.requirement, this.#slots[at]!)) at++;
      else this.#remove(at);
    }
  }

  #sample(only: InstanceRecord | undefined): void {
    this.#length = 0;
    this.#uses = 0;
    this.#only = only;
    this.#kin = undefined;
    this.#chosen = -1;
    this.#seed = scatter(this.#seed);
    this.#complete = true;
    const { requirement, cpu, memory } = this.#shape;
    if (requirement.count <= fewNodes && requirement.count * 8 < this.#nodes.count) this.#searchFew();
    else this.#index.search(cpu, memory, this.#seed, this);
    this.#changes = this.#nodes.changes;
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
    const at = this.#length;
    if (at === this.#most) {
      this.#complete = false;
      return false;
    }
    this.#slots[at] = slot;
    if (!this.#refresh(at)) return true;
    if (only && !this.#cluster.company.allows(only.kin, this.#shape.requirement, slot)) return true;
    const { domains } = this.#nodes;
    for (let domain = 0, to = at * domains.length; domain < domains.length; domain++, to++) {
      this.#domains[to] = domains[domain]!.values[slot]!;
    }
    this.#length++;
    return true;
  }

  /** Works out what depends on the node's sums. False when the node is not feasible any more. */
  #refresh(at: number): boolean {
    const nodes = this.#nodes;
    const slot = this.#slots[at]!;
    if (!nodes.fits(slot, this.#shape, this.#free)) return false;
    this.#packed[at] = packing(nodes, slot, this.#shape, this.#tier);
    this.#stamps[at] = nodes.stamps[slot]!;
    return true;
  }

  #remove(at: number): void {
    const last = --this.#length;
    if (this.#chosen === last) this.#chosen = at;
    this.#slots[at] = this.#slots[last]!;
    this.#stamps[at] = this.#stamps[last]!;
    this.#packed[at] = this.#packed[last]!;
    this.#drawn[at] = this.#drawn[last]!;
    this.#crowded[at] = this.#crowded[last]!;
    const count = this.#nodes.domains.length;
    for (let domain = 0; domain < count; domain++) {
      this.#domains[at * count + domain] = this.#domains[last * count + domain]!;
    }
  }
}

/** Whether its rules can only come to forbid nodes as a round goes on, and never to allow them. */
function onlyKeepsAway({ rules }: Kin): boolean {
  return rules.every(({ rule }) => rule.required && rule.min === undefined && rule.maxSkew === undefined);
}

/** Scatters a counter over 32 bits (the finalizer of MurmurHash3). */
export function scatter(counter: number): number {
  let mixed = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
