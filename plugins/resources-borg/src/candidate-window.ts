import type { NodeTable, Shape, WorkloadRecord } from '@cloudos/placement';
import { crowding, packing } from './score.ts';

/** A prime beyond any number of nodes: steps of it visit every node once before any twice. */
const stride = 1_000_003;

/**
 * Candidates for one shape during one round: relaxed randomisation, equivalence classes and score caching of Borg
 * (EuroSys 2015, section 3.4) in one. A sample of feasible nodes is kept and scored; it is filled up from where the
 * last look ended, so that each node is looked at once per shape and round, however many instances it has: within a
 * round nodes only become fuller.
 */
export class CandidateWindow {
  readonly #nodes: NodeTable;
  readonly #shape: Shape;
  readonly #slots: Int32Array;
  readonly #packed: Float64Array;
  readonly #stamps: Uint32Array;
  readonly #step: number;
  #size = 0;
  #next: number;
  #unseen: number;

  /** @param seed where the sample begins: a hash of what is different each time */
  constructor(nodes: NodeTable, shape: Shape, sampleSize: number, seed: number) {
    this.#nodes = nodes;
    this.#shape = shape;
    this.#slots = new Int32Array(Math.min(sampleSize, nodes.count));
    this.#packed = new Float64Array(this.#slots.length);
    this.#stamps = new Uint32Array(this.#slots.length);
    this.#unseen = nodes.count;
    this.#next = nodes.count > 0 ? seed % nodes.count : 0;
    this.#step = nodes.count > 0 ? stride % nodes.count || 1 : 1;
  }

  /** Slot of the best candidate, -1 when no node is feasible. */
  best(workload: WorkloadRecord): number {
    if (this.#size * 2 <= this.#slots.length) this.#fill();
    const nodes = this.#nodes;
    let best = -1;
    let bestScore = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < this.#size; ) {
      const slot = this.#slots[at]!;
      if (nodes.stamps[slot] !== this.#stamps[at] && !this.#refresh(at)) {
        this.#remove(at);
        continue;
      }
      // crowding only takes away: who packs worse than the best is not worth the look
      const packed = this.#packed[at]!;
      if (packed > bestScore) {
        const given = packed - crowding(nodes, slot, workload);
        if (given > bestScore) {
          bestScore = given;
          best = slot;
        }
      }
      at++;
    }
    if (best >= 0 || this.#unseen === 0) return best;
    return this.best(workload);
  }

  #fill(): void {
    while (this.#size < this.#slots.length && this.#unseen > 0) {
      const slot = this.#next;
      this.#unseen--;
      this.#next += this.#step;
      if (this.#next >= this.#nodes.count) this.#next -= this.#nodes.count;
      this.#slots[this.#size] = slot;
      if (this.#refresh(this.#size)) this.#size++;
    }
  }

  /** Works out what depends on the node's sums. False when the node is not feasible any more. */
  #refresh(at: number): boolean {
    const slot = this.#slots[at]!;
    if (!this.#nodes.fits(slot, this.#shape)) return false;
    this.#packed[at] = packing(this.#nodes, slot, this.#shape);
    this.#stamps[at] = this.#nodes.stamps[slot]!;
    return true;
  }

  #remove(at: number): void {
    const last = --this.#size;
    this.#slots[at] = this.#slots[last]!;
    this.#packed[at] = this.#packed[last]!;
    this.#stamps[at] = this.#stamps[last]!;
  }
}

/** Scatters a counter over 32 bits (the finalizer of MurmurHash3). */
export function scatter(counter: number): number {
  let mixed = Math.imul(counter ^ (counter >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
