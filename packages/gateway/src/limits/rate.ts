/** How many seconds' worth of a rate may come at once after a rest. */
const burstSeconds = 2;
/** Keys that are remembered at once. Beyond, those that have rested longest are forgotten: their buckets are full again. */
const keysMax = 10_000;

interface Bucket {
  tokens: number;
  at: number;
}

/** A token bucket for each key (a token id, an address). */
export class Rate {
  readonly #perMs: number;
  readonly #capacity: number;
  readonly #buckets = new Map<string, Bucket>();
  readonly #now: () => number;

  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.#perMs = perSecond / 1_000;
    this.#capacity = Math.max(1, perSecond * burstSeconds);
    this.#now = now;
  }

  /** Takes one, if there is one. Returns 0, or in how many milliseconds there will be one. */
  take(key: string): number {
    const bucket = this.#bucket(key);
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return 0;
    }
    return Math.ceil((1 - bucket.tokens) / this.#perMs);
  }

  /** As `take`, and takes nothing. */
  peek(key: string): number {
    const { tokens } = this.#bucket(key);
    return tokens >= 1 ? 0 : Math.ceil((1 - tokens) / this.#perMs);
  }

  #bucket(key: string): Bucket {
    const now = this.#now();
    const found = this.#buckets.get(key);
    if (found) {
      found.tokens = Math.min(this.#capacity, found.tokens + (now - found.at) * this.#perMs);
      found.at = now;
      // Moved to the end: the first of the map is the one that has rested longest.
      this.#buckets.delete(key);
      this.#buckets.set(key, found);
      return found;
    }
    if (this.#buckets.size >= keysMax) this.#buckets.delete(this.#buckets.keys().next().value ?? '');
    const made = { tokens: this.#capacity, at: now };
    this.#buckets.set(key, made);
    return made;
  }
}
