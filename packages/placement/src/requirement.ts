import type { Constraint } from '@cloudos/sdk';

/** Whether attributes of a node meet one constraint. An absent attribute meets only `not-in` and `not-exists`. */
export function matches(constraint: Constraint, attributes: Readonly<Record<string, string>>): boolean {
  const given = Object.hasOwn(attributes, constraint.attribute) ? attributes[constraint.attribute] : undefined;
  switch (constraint.operator) {
    case 'exists':
      return given !== undefined;
    case 'not-exists':
      return given === undefined;
    case 'in':
      return given !== undefined && constraint.values.includes(given);
    case 'not-in':
      return given === undefined || !constraint.values.includes(given);
    case 'gt':
      return given !== undefined && constraint.values.every((value) => Number(given) > Number(value));
    case 'lt':
      return given !== undefined && constraint.values.every((value) => Number(given) < Number(value));
  }
}

/** A constraint in words: `zone in (a, b)`. */
export function describeConstraint({ attribute, operator, values }: Constraint): string {
  return values.length > 0 ? `${attribute} ${operator} (${values.join(', ')})` : `${attribute} ${operator}`;
}

/**
 * What an instance asks of a node besides resources. Shared by all instances that ask the same, so that a node is
 * matched once for all of them.
 */
export class Requirement {
  readonly key: string;
  readonly runtime: string | undefined;
  readonly constraints: readonly Constraint[];
  /** How many shapes have it. */
  holders = 0;
  /** By slot of the node: 0 not matched yet, 1 met, 2 not met. */
  #met = new Uint8Array(0);

  constructor(key: string, runtime: string | undefined, constraints: readonly Constraint[]) {
    this.key = key;
    this.runtime = runtime;
    this.constraints = constraints;
  }

  /** @param node reads the facts of that slot; asked only when the slot was not matched since {@link forget} */
  metBy(
    slot: number,
    node: (slot: number) => { attributes: Readonly<Record<string, string>>; runtimes: ReadonlySet<string> },
  ): boolean {
    if (slot >= this.#met.length) {
      const larger = new Uint8Array(Math.max(64, 2 * (slot + 1)));
      larger.set(this.#met);
      this.#met = larger;
    }
    if (this.#met[slot] === 0) {
      const { attributes, runtimes } = node(slot);
      const met =
        (this.runtime === undefined ? runtimes.size > 0 : runtimes.has(this.runtime)) &&
        this.constraints.every((constraint) => matches(constraint, attributes));
      this.#met[slot] = met ? 1 : 2;
    }
    return this.#met[slot] === 1;
  }

  /** The facts of that node are different. */
  forget(slot: number): void {
    if (slot < this.#met.length) this.#met[slot] = 0;
  }
}
