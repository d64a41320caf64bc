import { CloudosError, type ErrorCode } from '@cloudos/sdk';
import type { SeededRandom } from './seeded-random.ts';

/** A fault that was injected: at which point, and at which pass through it (from 1). */
export interface FiredFault {
  readonly point: string;
  readonly pass: number;
}

/** How many fired faults are kept for {@link SeededFaults.fired}; older ones are only counted. */
export const firedFaultsMax = 100_000;

/**
 * Injects faults at named points with given probabilities, repeatably: each point draws from a generator of its own,
 * derived from the seed and its name, so that adding a point or a pass elsewhere does not move the others.
 */
export class SeededFaults<Point extends string = string> {
  readonly #random: SeededRandom;
  readonly #points = new Map<Point, { random: SeededRandom; probability: number; passes: number; fired: number }>();
  readonly #fired: FiredFault[] = [];
  #armed = true;

  /** @param probabilities 0 to 1 by point; a point that is not named never fires */
  constructor(random: SeededRandom, probabilities?: Readonly<Partial<Record<Point, number>>>) {
    this.#random = random;
    for (const [point, probability] of Object.entries(probabilities ?? {}))
      this.set(point as Point, probability as number);
  }

  set(point: Point, probability: number): void {
    if (!(probability >= 0 && probability <= 1)) {
      throw new RangeError(`fault point ${point}: expected a probability from 0 to 1, given ${probability}`);
    }
    this.#at(point).probability = probability;
  }

  /** Passes the point: true when the fault happens now. */
  fires(point: Point): boolean {
    const state = this.#at(point);
    state.passes++;
    const drawn = state.random.chance(state.probability);
    if (!drawn || !this.#armed) return false;
    state.fired++;
    if (this.#fired.length < firedFaultsMax) this.#fired.push({ point, pass: state.passes });
    return true;
  }

  /** Passes the point: throws an operational failure when the fault happens now. */
  check(point: Point, code: ErrorCode = 'TIMED_OUT'): void {
    if (this.fires(point)) throw new CloudosError(code, `injected fault at ${point} (seed ${this.#random.seed})`);
  }

  /** No faults from now on: what is left is to converge. Draws go on, so that arming again stays repeatable. */
  disarm(): void {
    this.#armed = false;
  }

  arm(): void {
    this.#armed = true;
  }

  /** What fired, in order: the first {@link firedFaultsMax}. */
  get fired(): readonly FiredFault[] {
    return this.#fired;
  }

  /** How often a point was passed, and how often it fired. */
  count(point: Point): { readonly passes: number; readonly fired: number } {
    const { passes, fired } = this.#at(point);
    return { passes, fired };
  }

  #at(point: Point) {
    let state = this.#points.get(point);
    if (!state) {
      state = { random: this.#random.fork(point), probability: 0, passes: 0, fired: 0 };
      this.#points.set(point, state);
    }
    return state;
  }
}
