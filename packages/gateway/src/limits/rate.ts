/** How many seconds' worth of a rate may come at once after a rest, unless it says otherwise. */
const burstSecondsDefault = 2;
/** Keys that are remembered at once. Beyond, those that have rested longest are forgotten: their buckets are full again. */
const keysMax = 10_000;

interface Bucket {
  /** In thousandths, so that whole milliseconds at a whole rate are exact. */
  tokens: number;
  at: number;
}

const one = 1_000;

/** A token bucket for each key (a token id, an address). */
export class Rate {
  readonly #perSecond: number;
  readonly #capacity: number;
  readonly #buckets = new Map<string, Bucket>();
  readonly #now: () => number;

  constructor(perSecond: number, burstSeconds = burstSecondsDefault, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#capacity = Math.max(one, perSecond * burstSeconds * one);
    this.#now = now;
  }

  /** Takes one, if there is one. Returns 0, or in how many milliseconds there will be one. */
  take(key: string): number {
    const bucket = this.#bucket(key);
    const waitMs = this.#waitMs(bucket);
    if (waitMs === 0) bucket.tokens -= one;
    return waitMs;
  }

  /** Takes one whether there is one or not. Returns 0, or in how many milliseconds what was taken too much is made up. */
  charge(key: string): number {
    const bucket = this.#bucket(key);
    bucket.tokens = Math.max(bucket.tokens - one, -this.#capacity);
    return bucket.tokens >= 0 ? 0 : Math.ceil(-bucket.tokens / this.#perSecond);
  }

  #waitMs({ tokens }: Bucket): number {
    return tokens >= one ? 0 : Math.ceil((one - tokens) / this.#perSecond);
  }

  #bucket(key: string): Bucket {
    const now = this.#now();
    const found = this.#buckets.get(key);
    if (found) {
      found.tokens = Math.min(this.#capacity, found.tokens + (now - found.at) * this.#perSecond);
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
