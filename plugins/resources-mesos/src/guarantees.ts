import { type Shape, width } from '@cloudos/placement';
import type { Agents } from './agents.ts';
import { Bundle } from './bundle.ts';
import type { MesosState } from './mesos-state.ts';
import { isFor } from './reservations.ts';

/**
 * What is promised to roles during one round: it is served first, and what is not asked for yet is kept free for it
 * (the headroom of Mesos 1.9, docs/quota.md).
 */
export class Guarantees {
  /** What is promised and not used yet, by role; where a role above is promised something, that counts. */
  readonly unmet: ReadonlyMap<string, Bundle>;
  readonly #free: Bundle;

  constructor(state: MesosState, agents: Agents) {
    const unmet = state.quotas.unmet();
    for (const role of unmet.keys()) {
      if ([...unmet.keys()].some((other) => other !== role && isFor(other, role))) unmet.delete(role);
    }
    this.unmet = unmet;
    this.#free = new Bundle();
    if (unmet.size === 0) return;
    const { nodes } = state.cluster;
    for (let slot = 0; slot < nodes.count; slot++) {
      if (nodes.open[slot] === 1) this.#free.add(agents.available(slot, ''), 1);
    }
  }

  /** Whether something is promised to the role, or to one above it. */
  concerns(role: string): boolean {
    return this.#promiseTo(role) !== undefined;
  }

  /** Whether the shape lies within what is promised to the role, or to one above it, and not used yet. */
  within(role: string, shape: Shape): boolean {
    const promise = this.#promiseTo(role);
    if (!promise) return false;
    for (let dimension = 0; dimension < width; dimension++) {
      const promised = promise.plain[dimension]!;
      if (promised > 0 && shape.amount(dimension) > promised) return false;
    }
    return (
      shape.amount(0) + shape.amount(1) > 0 && promise.plain.some((amount, at) => amount > 0 && shape.amount(at) > 0)
    );
  }

  /** Whether what is promised to others can be kept when the role gets that. */
  leavesEnough(role: string, shape: Shape): boolean {
    if (this.unmet.size === 0 || this.within(role, shape)) return true;
    const needed = this.#promisedToOthers(role);
    for (let dimension = 0; dimension < width; dimension++) {
      const asked = shape.amount(dimension);
      if (asked > 0 && this.#free.plain[dimension]! - asked < needed.plain[dimension]!) return false;
    }
    return shape.custom.every(([name, asked]) => this.#free.amountOf(name) - asked >= needed.amountOf(name));
  }

  /** How much anybody but the role may be offered at most. Undefined: nothing is promised. */
  room(role: string): Bundle | undefined {
    if (this.unmet.size === 0) return undefined;
    return this.#free.copy().add(this.#promisedToOthers(role), -1).floor();
  }

  placed(role: string, shape: Shape): void {
    if (this.unmet.size === 0) return;
    this.#free.addShape(shape, -1);
    this.#promiseTo(role)?.addShape(shape, -1).floor();
  }

  offered(role: string, amounts: Bundle): void {
    if (this.unmet.size === 0) return;
    this.#free.add(amounts, -1);
    this.#promiseTo(role)?.add(amounts, -1).floor();
  }

  #promiseTo(role: string): Bundle | undefined {
    for (const [promised, amounts] of this.unmet) if (isFor(promised, role) && !amounts.isEmpty) return amounts;
    return undefined;
  }

  #promisedToOthers(role: string): Bundle {
    const needed = new Bundle();
    for (const [promised, amounts] of this.unmet) if (!isFor(promised, role)) needed.add(amounts, 1);
    return needed;
  }
}
