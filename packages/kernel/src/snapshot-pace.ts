import type { Clock } from '@cloudos/sdk';

/** Saving snapshots of one state takes at most that share of the time: one in fifty. Several states are saved. */
const share = 50;
/** How long after the start the first is saved, in milliseconds: what it takes is not known before. */
const firstAfterMs = 10_000;
/** It is saved sooner when that many times as many events have come: reading them again takes longer than saving. */
const firstWithinTimes = 8;

/** Says when it is time for another snapshot: after enough events, and not so often that saving costs much. */
export class SnapshotPace {
  readonly #clock: Clock;
  readonly #every: number;
  #position = -1;
  #notBefore: number;
  #isFirst = true;

  /** @param every events between two snapshots, at least */
  constructor(clock: Clock, every: number) {
    this.#clock = clock;
    this.#every = every;
    this.#notBefore = clock.now() + firstAfterMs;
  }

  /** Position of the last snapshot, -1 before the first. */
  get position(): number {
    return this.#position;
  }

  due(position: number): boolean {
    const behind = position - this.#position;
    if (behind < this.#every) return false;
    return this.#clock.now() >= this.#notBefore || (this.#isFirst && behind >= firstWithinTimes * this.#every);
  }

  /** A snapshot stands at that position already. */
  loaded(position: number): void {
    this.#position = position;
  }

  /** Saves one, and takes note of how long that took. */
  async save(position: number, save: () => Promise<void>): Promise<void> {
    this.#position = position;
    const startedAt = this.#clock.now();
    this.#isFirst = false;
    this.#notBefore = Number.POSITIVE_INFINITY;
    try {
      await save();
    } finally {
      const now = this.#clock.now();
      this.#notBefore = now + share * (now - startedAt);
    }
  }
}
