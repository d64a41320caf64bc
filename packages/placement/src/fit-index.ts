/** Steps of an axis: four to an octave over fourteen octaves, and one for what is less. */
const levels = 57;
const cells = levels * levels;

const float = new Float64Array(1);
const bitsOfFloat = new Uint32Array(float.buffer);

/** Where the axes begin: 64 thousandths of a core, 64 MiB. What is below is one level. */
const cpuBase = levelBits(64);
const memoryBase = levelBits(2 ** 26);

/** One core weighs as much as 4 GiB: the mix of common machines. */
const memoryPerCpuMilli = 2 ** 32 / 1_000;

/** Exponent and the two highest bits of the fraction: grows with the number, four steps to an octave. */
function levelBits(amount: number): number {
  float[0] = amount;
  return bitsOfFloat[1]! >>> 18;
}

function levelOf(amount: number, base: number): number {
  if (amount <= 0) return 0;
  const level = levelBits(amount) - base + 1;
  return level < 0 ? 0 : level >= levels ? levels - 1 : level;
}

/** Which cell so much free cpu and memory falls into. */
export function cellOf(cpuMillis: number, memoryBytes: number): number {
  return levelOf(cpuMillis, cpuBase) * levels + levelOf(memoryBytes, memoryBase);
}

/** Cells from the fullest to the emptiest, and the rank of each. */
const byRank = Array.from({ length: cells }, (_, cell) => cell).sort(
  (one, other) => leftIn(one) - leftIn(other) || one - other,
);
const rankOf = new Int32Array(cells);
for (const [rank, cell] of byRank.entries()) rankOf[cell] = rank;

function leftIn(cell: number): number {
  const [cpu, memory] = [Math.floor(cell / levels), cell % levels];
  return 64 * 2 ** (cpu / 4) + (2 ** 26 * 2 ** (memory / 4)) / memoryPerCpuMilli;
}

const rankWords = (cells + 31) >>> 5;
const masks: (Uint32Array | undefined)[] = [];

/** The ranks of the cells that have room for that much in both. */
function maskOf(cell: number): Uint32Array {
  let mask = masks[cell];
  if (!mask) {
    mask = new Uint32Array(rankWords);
    const [cpu, memory] = [Math.floor(cell / levels), cell % levels];
    for (let rank = 0; rank < cells; rank++) {
      const at = byRank[rank]!;
      if (Math.floor(at / levels) >= cpu && at % levels >= memory) mask[rank >>> 5]! |= 1 << (rank & 31);
    }
    masks[cell] = mask;
  }
  return mask;
}

/** A set of slots as bits, with a summary of which words have any. */
interface Members {
  count: number;
  readonly words: Uint32Array;
  readonly summary: Uint32Array;
}

/** What a search is after. Returns how many of the slots it takes: the search ends when it has enough. */
export interface FitQuery {
  /** Slots that may be taken at all, as bits. */
  readonly among: Uint32Array;
  /** Looks closer at one of them. False ends the search. */
  visit(slot: number): boolean;
}

/**
 * The open nodes by what they have free of cpu and memory, in logarithmic steps: a search goes through them from the
 * fullest that may have room to the emptiest, without looking at the others. Moving a node costs the same however many
 * there are. What the index holds follows from what is free alone, not from how it came to be: a state that was loaded
 * finds the same as one that grew.
 */
export class FitIndex {
  /** Rank of the cell that the slot is in; -1 where it is in none. */
  #ranks = new Int16Array(0);
  readonly #members: (Members | undefined)[] = [];
  readonly #occupied = new Uint32Array(rankWords);
  #slots = 0;

  /** Makes room for that many slots. */
  grow(slots: number): void {
    const ranks = new Int16Array(slots).fill(-1);
    ranks.set(this.#ranks);
    this.#ranks = ranks;
    this.#slots = slots;
    for (const [rank, members] of this.#members.entries()) {
      if (members) this.#members[rank] = enlarged(members, slots);
    }
  }

  /** The slot has that much free now; it is left out where it is not open. */
  put(slot: number, open: boolean, cpuMillis: number, memoryBytes: number): void {
    const rank = open ? rankOf[cellOf(cpuMillis, memoryBytes)]! : -1;
    const before = this.#ranks[slot]!;
    if (rank === before) return;
    this.#ranks[slot] = rank;
    if (before >= 0) this.#remove(before, slot);
    if (rank >= 0) this.#add(rank, slot);
  }

  /**
   * Visits the slots that may have room, the fullest cells first; within a cell from `start` on and around.
   * @param start any whole number: where a look into a cell begins
   */
  search(cpuMillis: number, memoryBytes: number, start: number, query: FitQuery): void {
    const mask = maskOf(cellOf(cpuMillis, memoryBytes));
    for (let at = 0; at < rankWords; at++) {
      let bits = (this.#occupied[at]! & mask[at]!) >>> 0;
      while (bits !== 0) {
        const lowest = bits & -bits;
        const rank = (at << 5) + 31 - Math.clz32(lowest);
        if (!visitMembers(this.#members[rank]!, start, query)) return;
        bits = (bits ^ lowest) >>> 0;
      }
    }
  }

  #add(rank: number, slot: number): void {
    let members = this.#members[rank];
    if (!members) {
      members = newMembers(this.#slots);
      this.#members[rank] = members;
    }
    const word = slot >>> 5;
    members.words[word]! |= 1 << (slot & 31);
    members.summary[word >>> 5]! |= 1 << (word & 31);
    if (members.count++ === 0) this.#occupied[rank >>> 5]! |= 1 << (rank & 31);
  }

  #remove(rank: number, slot: number): void {
    const members = this.#members[rank]!;
    const word = slot >>> 5;
    members.words[word]! &= ~(1 << (slot & 31));
    if (members.words[word] === 0) members.summary[word >>> 5]! &= ~(1 << (word & 31));
    if (--members.count === 0) this.#occupied[rank >>> 5]! &= ~(1 << (rank & 31));
  }
}

/** False: the query has enough. */
function visitMembers({ words, summary }: Members, start: number, query: FitQuery): boolean {
  const { among } = query;
  const first = start % summary.length;
  for (let step = 0; step < summary.length; step++) {
    const at = first + step < summary.length ? first + step : first + step - summary.length;
    let filled = summary[at]!;
    while (filled !== 0) {
      const lowestWord = filled & -filled;
      const word = (at << 5) + 31 - Math.clz32(lowestWord);
      filled ^= lowestWord;
      if (!visitWord(words[word]! & among[word]!, word << 5, query)) return false;
    }
  }
  return true;
}

/** Visits the slots of one word of bits. False: the query has enough. */
export function visitWord(word: number, base: number, query: FitQuery): boolean {
  let bits = word;
  while (bits !== 0) {
    const lowest = bits & -bits;
    if (!query.visit(base + 31 - Math.clz32(lowest))) return false;
    bits ^= lowest;
  }
  return true;
}

function newMembers(slots: number): Members {
  const words = (slots + 31) >>> 5;
  return { count: 0, words: new Uint32Array(words), summary: new Uint32Array((words + 31) >>> 5) };
}

function enlarged(members: Members, slots: number): Members {
  const larger = newMembers(slots);
  larger.words.set(members.words);
  larger.summary.set(members.summary);
  larger.count = members.count;
  return larger;
}
