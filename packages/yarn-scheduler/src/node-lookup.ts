import { type NodeTable, type Shape, width } from '@cloudos/placement';

/** A prime beyond any number of nodes: steps of it visit every node once before any twice. */
const stride = 1_000_003;

export type NodeOrder = 'fullest' | 'resource-usage';

/**
 * Nodes of one partition for one shape during one round. YARN looks up candidate nodes sorted by their usage
 * (multi-node placement, `ResourceUsageMultiNodeLookupPolicy`: the least used first); `fullest` is the other way
 * round and packs. Only a sample of feasible nodes is kept sorted out, filled up from where the last look ended:
 * within a round nodes only become fuller, so each is looked at once per shape, however many instances it has.
 */
export class NodeLookup {
  readonly #nodes: NodeTable;
  readonly #shape: Shape;
  readonly #all: Int32Array;
  readonly #sample: Int32Array;
  readonly #scores: Float64Array;
  readonly #stamps: Uint32Array;
  readonly #step: number;
  readonly #sign: number;
  #size = 0;
  #next: number;
  #unseen: number;

  /** @param seed where the sample begins: a hash of what is different each time */
  constructor(nodes: NodeTable, shape: Shape, slots: Int32Array, order: NodeOrder, candidates: number, seed: number) {
    this.#nodes = nodes;
    this.#shape = shape;
    this.#all = slots;
    const size = Math.min(candidates, slots.length);
    this.#sample = new Int32Array(size);
    this.#scores = new Float64Array(size);
    this.#stamps = new Uint32Array(size);
    this.#unseen = slots.length;
    this.#next = slots.length > 0 ? seed % slots.length : 0;
    this.#step = slots.length > 0 ? stride % slots.length || 1 : 1;
    this.#sign = order === 'fullest' ? 1 : -1;
  }

  /** Slot of the node that is taken next, -1 when none is feasible. */
  next(): number {
    for (;;) {
      if (this.#size * 2 <= this.#sample.length) this.#fill();
      let best = -1;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (let at = 0; at < this.#size; ) {
        const slot = this.#sample[at]!;
        if (this.#nodes.stamps[slot] !== this.#stamps[at] && !this.#refresh(at)) {
          this.#remove(at);
          continue;
        }
        if (this.#scores[at]! > bestScore) {
          bestScore = this.#scores[at]!;
          best = slot;
        }
        at++;
      }
      if (best >= 0 || this.#unseen === 0) return best;
    }
  }

  #fill(): void {
    while (this.#size < this.#sample.length && this.#unseen > 0) {
      this.#unseen--;
      this.#sample[this.#size] = this.#all[this.#next]!;
      this.#next += this.#step;
      if (this.#next >= this.#all.length) this.#next -= this.#all.length;
      if (this.#refresh(this.#size)) this.#size++;
    }
  }

  #refresh(at: number): boolean {
    const slot = this.#sample[at]!;
    if (!this.#nodes.fits(slot, this.#shape)) return false;
    this.#scores[at] = this.#sign * usage(this.#nodes, slot, this.#shape);
    this.#stamps[at] = this.#nodes.stamps[slot]!;
    return true;
  }

  #remove(at: number): void {
    const last = --this.#size;
    this.#sample[at] = this.#sample[last]!;
    this.#scores[at] = this.#scores[last]!;
    this.#stamps[at] = this.#stamps[last]!;
  }
}

/** How full the node would be, less by how much more unevenly its cores and memory would be used. */
function usage(nodes: NodeTable, slot: number, shape: Shape): number {
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
