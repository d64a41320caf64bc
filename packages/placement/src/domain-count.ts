import type { Scope } from './scope.ts';

/** How many instances of one kind are in each domain of a scope. Kept while somebody's rule asks for it. */
export class DomainCount {
  readonly key: string;
  readonly scope: Scope;
  /** All of them are borne by the instances that are counted, or by those that are kept away. */
  readonly tags: readonly string[];
  /** By number of the domain: those who stay, and those who are about to leave. */
  readonly #staying: number[] = [];
  readonly #leaving: number[] = [];
  /** Those who stay, in a domain or in none. */
  total = 0;
  /** Counts changes: what was worked out from the numbers holds while it stays. */
  version = 0;
  /** How many rules ask for it. */
  holders = 0;

  constructor(key: string, scope: Scope, tags: readonly string[]) {
    this.key = key;
    this.scope = scope;
    this.tags = tags;
  }

  add(slot: number, by: 1 | -1): void {
    this.version++;
    this.total += by;
    const value = this.scope.values[slot]!;
    if (value >= 0) this.#staying[value] = (this.#staying[value] ?? 0) + by;
  }

  /** The same for one who is about to leave. */
  addLeaving(slot: number, by: 1 | -1): void {
    this.version++;
    const value = this.scope.values[slot]!;
    if (value >= 0) this.#leaving[value] = (this.#leaving[value] ?? 0) + by;
  }

  staying(value: number): number {
    return this.#staying[value] ?? 0;
  }

  /** Those who are about to leave as well: they are still there to keep away from. */
  present(value: number): number {
    return (this.#staying[value] ?? 0) + (this.#leaving[value] ?? 0);
  }
}
