import type { Clock } from '@cloudos/sdk';

/** Saving snapshots of one state takes at most that share of the time: one in fifty. Several states are saved. */
const share = 50;

/** Says when it is time for another snapshot: after enough events, and not so often that saving costs much. */
export class SnapshotPace {
  readonly #clock: Clock;
  readonly #every: number;
  #position = -1;
  #notBefore = 0;

  /** @param every events between two snapshots, at least */
  constructor(clock: Clock, every: number) {
    this.#clock = clock;
    this.#every = every;
  }

  /** Position of the last snapshot, -1 before the first. */
  get position(): number {
    return this.#position;
  }

  due(position: number): boolean {
    return position - this.#position >= this.#every && this.#clock.now() >= this.#notBefore;
  }

  /** A snapshot stands at that position already. */
  loaded(position: number): void {
    this.#position = position;
  }

  /** Saves one, and takes note of how long that took. */
  async save(position: number, save: () => Promise<void>): Promise<void> {
    this.#position = position;
    const startedAt = this.#clock.now();
    this.#notBefore = Number.POSITIVE_INFINITY;
    try {
      await save();
    } finally {
      const now = this.#clock.now();
      this.#notBefore = now + share * (now - startedAt);
    }
  }
}
