import type { InstanceRecord, Shape } from '@cloudos/placement';
import type { NewEvent } from '@cloudos/sdk';
import type { Application } from '../application.ts';
import { nodeReserved } from '../events.ts';
import type { WaitingClass } from '../waiting.ts';
import type { YarnState } from '../yarn-state.ts';
import type { Limits } from './limit-checks.ts';
import { allKept, chooseReserved } from './reservation.ts';

/** Keeps nodes, during one round, for those who have waited long enough and fit nowhere. */
export class Reserving {
  readonly #state: YarnState;
  readonly #limits: Limits;
  readonly #now: number;
  readonly #wake: (at: number) => void;
  readonly #kept: InstanceRecord[] = [];
  /** Shapes for which no node was found that could ever be kept. */
  readonly #neverLarge = new Set<Shape>();

  /** @param wake told when the next will have waited long enough */
  constructor(state: YarnState, limits: Limits, now: number, wake: (at: number) => void) {
    this.#state = state;
    this.#limits = limits;
    this.#now = now;
    this.#wake = wake;
  }

  /** Keeps a node for the instance, where it is time and one can be kept: the event that says so. */
  keepFor(record: InstanceRecord, application: Application, partition: number): NewEvent | undefined {
    const { reservations } = this.#state.config;
    if (!reservations.enabled || this.#state.reservations.has(record)) return undefined;
    const dueAt = application.waitingSince + reservations.afterMs;
    if (dueAt > this.#now) {
      this.#wake(dueAt);
      return undefined;
    }
    if (this.#limits.obstacle(record, application, application.queue!, partition)) return undefined;
    const slot = chooseReserved(this.#state, record, partition, this.#neverLarge);
    if (slot < 0) return undefined;
    this.#state.reserve(record, slot);
    this.#kept.push(record);
    return nodeReserved({ instance: record.id, node: this.#state.cluster.nodes.facts[slot]!.id });
  }

  /** Whether a node may be kept for one of the class now. */
  mayKeepFor(kind: WaitingClass, partition: number): boolean {
    const { reservations } = this.#state.config;
    if (!reservations.enabled || this.#neverLarge.has(kind.shape) || allKept(this.#state, partition)) return false;
    if (kind.since + reservations.afterMs <= this.#now) kind.reviewSince();
    const dueAt = kind.since + reservations.afterMs;
    if (dueAt > this.#now) this.#wake(dueAt);
    return dueAt <= this.#now;
  }

  takeBack(): void {
    for (const record of this.#kept) this.#state.unreserve(record);
  }
}
