import type { Clock } from '@cloudos/sdk';

export interface VirtualClockOptions {
  /** Epoch milliseconds at the beginning. Default 1,700,000,000,000 (November 2023): a plausible, round date. */
  readonly startMs?: number;
  /**
   * Turns of the event loop that {@link VirtualClock.run} waits between two timers. One turn settles any chain of
   * promises; more are needed only where chains go through `setImmediate` themselves. Default 1.
   */
  readonly settleTurns?: number;
}

/** The most timers that one call fires: past it, timers re-arm themselves without time going on. */
export const timersPerRunMax = 10_000_000;

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
  cancelled: boolean;
}

/**
 * A clock that stands still until it is told to move. Timers fire in the order of their times, those of one instant
 * in the order in which they were set, so a simulation repeats itself exactly.
 */
export class VirtualClock implements Clock {
  #nowMs: number;
  #order = 0;
  #live = 0;
  readonly #heap: Timer[] = [];
  readonly #settleTurns: number;

  constructor(options: VirtualClockOptions = {}) {
    this.#nowMs = options.startMs ?? 1_700_000_000_000;
    this.#settleTurns = options.settleTurns ?? 1;
  }

  now(): number {
    return this.#nowMs;
  }

  /** A negative delay counts as none. Even a timer without delay fires only when the clock is moved. */
  after(delayMs: number, callback: () => void): () => void {
    const timer: Timer = { at: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback, cancelled: false };
    this.#push(timer);
    this.#live++;
    return () => {
      if (timer.cancelled) return;
      timer.cancelled = true;
      this.#live--;
    };
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#live;
  }

  /** When the next timer fires (epoch milliseconds), or undefined when none waits. */
  nextAt(): number | undefined {
    for (let head = this.#heap[0]; head; head = this.#heap[0]) {
      if (!head.cancelled) return head.at;
      this.#pop();
    }
    return undefined;
  }

  /** Moves to that time, firing what is due on the way, without letting promises settle. Never moves back. */
  advanceTo(untilMs: number): void {
    for (let fired = 0; this.#fireNext(untilMs); ) this.#guard(++fired);
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  advanceBy(durationMs: number): void {
    this.advanceTo(this.#nowMs + durationMs);
  }

  /** Moves to that time, letting chains of promises settle before, between and after the timers. */
  async run(untilMs: number): Promise<void> {
    await this.settle();
    for (let fired = 0; this.#fireNext(untilMs); ) {
      this.#guard(++fired);
      await this.settle();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
    await this.settle();
  }

  async runFor(durationMs: number): Promise<void> {
    await this.run(this.#nowMs + durationMs);
  }

  /**
   * Moves from timer to timer until the condition holds.
   * @returns whether it holds; false when the time limit is reached, or nothing is left that could change it
   */
  async runUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
    const untilMs = this.#nowMs + limitMs;
    await this.settle();
    for (let fired = 0; !condition(); ) {
      if (!this.#fireNext(untilMs)) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return false;
      }
      this.#guard(++fired);
      await this.settle();
    }
    return true;
  }

  /** Lets chains of promises run to their end without moving the clock. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < this.#settleTurns; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  #fireNext(untilMs: number): boolean {
    const at = this.nextAt();
    if (at === undefined || at > untilMs) return false;
    const timer = this.#pop();
    timer.cancelled = true;
    this.#live--;
    this.#nowMs = Math.max(this.#nowMs, timer.at);
    timer.callback();
    return true;
  }

  #guard(fired: number): void {
    if (fired > timersPerRunMax) {
      throw new Error(`virtual clock: more than ${timersPerRunMax} timers in one run, now at ${this.#nowMs}`);
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): Timer {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

function before(one: Timer, other: Timer): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}
