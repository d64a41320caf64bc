import type { Clock, IdSource } from '@cloudos/sdk';

/**
 * Repeatable pseudo-randomness: sfc32 (Chris Doty-Humphrey's Small Fast Counting generator, 128 bits of state),
 * seeded through splitmix32. The same seed gives the same sequence on every machine. Not for secrets.
 */
export class SeededRandom {
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param seed any number; its lower 32 bits count */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    const next = splitmix32(this.seed);
    this.#a = next();
    this.#b = next();
    this.#c = next();
    for (let warmUp = 0; warmUp < 12; warmUp++) this.uint32();
  }

  /** A whole number in 0 … 2³²−1. */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A number in [0, 1), of 32 random bits. */
  next(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** A whole number in 0 … n−1. @param n from 1 to 2³² */
  int(n: number): number {
    if (!(n >= 1)) throw new RangeError(`SeededRandom.int: expected a bound of 1 or more, given ${n}`);
    return Math.floor(this.next() * n);
  }

  /** A whole number in min … max, both included. */
  between(min: number, max: number): number {
    return min + this.int(max - min + 1);
  }

  /** True that often: never for 0, always for 1. Always uses up one number, so that sequences stay aligned. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of the items; there must be one. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('SeededRandom.pick: the list is empty');
    return items[this.int(items.length)] as T;
  }

  /** A new list with the same items in another order (Fisher–Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const list = [...items];
    for (let at = list.length - 1; at > 0; at--) {
      const other = this.int(at + 1);
      [list[at], list[other]] = [list[other] as T, list[at] as T];
    }
    return list;
  }

  /**
   * A generator of its own: what is drawn from it does not move this one. With a label, it depends on the label and
   * the seed alone, not on how much was drawn before; without one, it uses up a number of this.
   */
  fork(label?: string): SeededRandom {
    return new SeededRandom(label === undefined ? this.uint32() : hashOf(label, this.seed));
  }
}

/**
 * UUIDv7 (RFC 9562, method 1: a counter in rand_a) of a clock and a generator: valid, unique, increasing, repeatable.
 * More than 4,096 within a millisecond run ahead of the clock.
 */
export function seededIds(clock: Pick<Clock, 'now'>, random: SeededRandom): IdSource {
  let timeMs = -1;
  let counter = 0;
  return () => {
    const now = clock.now();
    if (now > timeMs) {
      timeMs = now;
      counter = 0;
    } else if (++counter > 0xfff) {
      timeMs++;
      counter = 0;
    }
    const time = hex(timeMs, 12);
    const low = hex(random.uint32(), 8);
    const high = hex(random.uint32(), 8);
    const variant = ((random.uint32() & 3) | 8).toString(16);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(counter, 3)}-${variant}${low.slice(0, 3)}-${low.slice(3)}${high.slice(1)}`;
  };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
}

/** FNV-1a over UTF-16 code units, started from the seed. */
function hashOf(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
