/** Buckets to an octave: a quantile is off by a twentieth at most. */
const perOctave = 16;
const octaves = 40;

/** Waits in milliseconds, counted in logarithmic buckets: as much memory however many there are. */
export class WaitHistogram {
  readonly #buckets = new Uint32Array(perOctave * octaves + 1);
  count = 0;
  max = 0;

  add(ms: number): void {
    this.count++;
    this.max = Math.max(this.max, ms);
    const at = ms < 1 ? 0 : 1 + Math.floor(Math.log2(ms) * perOctave);
    const bucket = Math.min(at, this.#buckets.length - 1);
    this.#buckets[bucket] = this.#buckets[bucket]! + 1;
  }

  /** The wait that a share of all do not exceed; 0 where there are none. */
  quantile(share: number): number {
    let left = Math.ceil(share * this.count);
    if (left <= 0) return 0;
    for (let at = 0; at < this.#buckets.length; at++) {
      left -= this.#buckets[at]!;
      if (left <= 0) return at === 0 ? 0 : Math.min(this.max, Math.round(2 ** (at / perOctave)));
    }
    return this.max;
  }
}
