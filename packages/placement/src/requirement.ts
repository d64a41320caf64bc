import type { Constraint } from '@cloudos/sdk';
import type { DomainCount } from './domain-count.ts';
import type { Scope } from './scope.ts';

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

/** What of a node a requirement is about. */
export interface NodeTraits {
  readonly state: 'ready' | 'lost' | 'left';
  readonly attributes: Readonly<Record<string, string>>;
  readonly runtimes: ReadonlySet<string>;
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
  /** The slots of the nodes that meet it, as bits, and how many they are. */
  bits = new Uint32Array(0);
  count = 0;
  /** By scope: how many nodes of each domain meet it and are there. */
  readonly #domains = new Map<Scope, number[]>();
  readonly #fewest = new Map<DomainCount, { readonly version: number; readonly value: number }>();
  readonly #nodes: readonly NodeTraits[];

  constructor(key: string, runtime: string | undefined, constraints: readonly Constraint[], nodes: NodeTraits[]) {
    this.key = key;
    this.runtime = runtime;
    this.constraints = constraints;
    this.#nodes = nodes;
    this.bits = new Uint32Array(Math.max(64, (nodes.length + 31) >>> 5));
    for (let slot = 0; slot < nodes.length; slot++) this.#match(slot);
  }

  metBy(slot: number): boolean {
    return (this.bits[slot >>> 5]! & (1 << (slot & 31))) !== 0;
  }

  /** The facts of that node may be different. */
  review(slot: number): void {
    if (slot >>> 5 >= this.bits.length) {
      const larger = new Uint32Array(Math.max(64, 2 * ((slot >>> 5) + 1)));
      larger.set(this.bits);
      this.bits = larger;
    }
    this.#domains.clear();
    this.#fewest.clear();
    this.#match(slot);
  }

  #match(slot: number): void {
    const { attributes, runtimes } = this.#nodes[slot]!;
    const met =
      (this.runtime === undefined ? runtimes.size > 0 : runtimes.has(this.runtime)) &&
      this.constraints.every((constraint) => matches(constraint, attributes));
    if (met === this.metBy(slot)) return;
    this.bits[slot >>> 5]! ^= 1 << (slot & 31);
    this.count += met ? 1 : -1;
  }

  /** The smallest number of those who stay, over the domains in which a node is there that meets the requirement. */
  fewest(count: DomainCount): number {
    const known = this.#fewest.get(count);
    if (known?.version === count.version) return known.value;
    let fewest = Number.POSITIVE_INFINITY;
    this.#nodesByDomain(count.scope).forEach((nodes, value) => {
      if (nodes > 0) fewest = Math.min(fewest, count.staying(value));
    });
    const value = fewest === Number.POSITIVE_INFINITY ? 0 : fewest;
    if (this.#fewest.size > domainCountsMax) this.#fewest.clear();
    this.#fewest.set(count, { version: count.version, value });
    return value;
  }

  #nodesByDomain(scope: Scope): number[] {
    let nodes = this.#domains.get(scope);
    if (!nodes) {
      nodes = Array.from({ length: scope.size }, () => 0);
      for (const [slot, { state }] of this.#nodes.entries()) {
        const value = scope.values[slot]!;
        if (value >= 0 && state === 'ready' && this.metBy(slot)) nodes[value]!++;
      }
      this.#domains.set(scope, nodes);
    }
    return nodes;
  }
}

/** Numbers whose minimum one requirement remembers. */
const domainCountsMax = 1_024;
