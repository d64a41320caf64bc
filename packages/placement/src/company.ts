import type { PlacementRule } from '@cloudos/sdk';
import { DomainCount } from './domain-count.ts';
import type { Kin } from './kin.ts';
import type { Requirement } from './requirement.ts';
import type { Scope } from './scope.ts';

/** Whether an instance of that workload with those tags bears all of the wanted ones. */
export function bears(wanted: readonly string[], workload: { readonly tag: string }, tags: readonly string[]): boolean {
  for (const tag of wanted) if (tag !== workload.tag && !tags.includes(tag)) return false;
  return true;
}

/** A rule of one kin, with the numbers that it is about. */
export interface BoundRule {
  readonly rule: PlacementRule;
  readonly count: DomainCount;
  /** Whether the instance itself is of the kind that it counts. */
  readonly own: boolean;
}

const noCounts: readonly DomainCount[] = [];

/** Keeps the numbers that placement rules ask for, as instances come and go. */
export class CompanyIndex {
  readonly #counts = new Map<string, DomainCount>();
  /** By the first of the tags. Two families: who bears the tags, and who keeps away from those who do. */
  readonly #bearers = new Map<string, Set<DomainCount>>();
  readonly #shunners = new Map<string, Set<DomainCount>>();
  readonly #kins = new Set<Kin>();
  readonly #scopeOf: (attribute: string) => Scope;
  /** Every instance that has a place: asked when a number is wanted that was not kept before. */
  readonly #placed: () => Iterable<{ readonly kin: Kin; readonly slot: number; readonly leaving: boolean }>;
  /** Grows whenever numbers begin or cease to be kept. */
  version = 0;

  constructor(
    scopeOf: (attribute: string) => Scope,
    placed: () => Iterable<{ readonly kin: Kin; readonly slot: number; readonly leaving: boolean }>,
  ) {
    this.#scopeOf = scopeOf;
    this.#placed = placed;
  }

  /** A kin has its first instance. */
  enter(kin: Kin): void {
    this.#kins.add(kin);
    kin.rules = kin.profile.rules.map((rule) => {
      const count = this.#hold(this.#bearers, `bears ${rule.scope} ${JSON.stringify(rule.tags)}`, rule);
      if (keepsAway(rule)) this.#hold(this.#shunners, shunKey(rule), rule);
      return { rule, count, own: bears(rule.tags, kin.workload, kin.profile.tags) };
    });
    kin.company = undefined;
  }

  /** It has none any more. */
  exit(kin: Kin): void {
    this.#kins.delete(kin);
    for (const { rule, count } of kin.rules) {
      this.#release(this.#bearers, count);
      if (keepsAway(rule)) this.#release(this.#shunners, this.#counts.get(shunKey(rule))!);
    }
  }

  /** The numbers that an instance of the kin counts in. */
  countsOf(kin: Kin): readonly DomainCount[] {
    return this.#companyOf(kin).counts;
  }

  /** Where those are who keep away from it. */
  shunnersOf(kin: Kin): readonly DomainCount[] {
    return this.#companyOf(kin).shunners;
  }

  /** Whether there is no rule at all. */
  get idle(): boolean {
    return this.#counts.size === 0;
  }

  /** Whether any rule, its own or another's, has a say in where instances of the kin may be. */
  binds(kin: Kin): boolean {
    return this.#counts.size > 0 && (kin.rules.length > 0 || this.shunnersOf(kin).length > 0);
  }

  /** Whether an instance of the kin may be on the node, as far as company goes. */
  allows(kin: Kin, requirement: Requirement, slot: number): boolean {
    for (const bound of kin.rules) if (bound.rule.required && !meets(bound, requirement, slot)) return false;
    for (const count of this.shunnersOf(kin)) {
      const value = count.scope.values[slot]!;
      if (value >= 0 && count.present(value) > 0) return false;
    }
    return true;
  }

  #companyOf(kin: Kin): NonNullable<Kin['company']> {
    if (kin.company?.version === this.version) return kin.company;
    const { workload, profile } = kin;
    if (profile.tags.length === 0 && kin.rules.length === 0 && !this.#concerns(workload.tag)) {
      kin.company = { version: this.version, counts: noCounts, shunners: noCounts };
      return kin.company;
    }
    const counts: DomainCount[] = [];
    const shunners: DomainCount[] = [];
    for (const tag of [...new Set([...profile.tags, workload.tag])]) {
      for (const count of this.#bearers.get(tag) ?? []) {
        if (bears(count.tags, workload, profile.tags)) counts.push(count);
      }
      for (const count of this.#shunners.get(tag) ?? []) {
        if (bears(count.tags, workload, profile.tags)) shunners.push(count);
      }
    }
    for (const { rule } of kin.rules) if (keepsAway(rule)) counts.push(this.#counts.get(shunKey(rule))!);
    kin.company = { version: this.version, counts: [...new Set(counts)], shunners };
    return kin.company;
  }

  /** Whether any number is about those who bear that tag. */
  #concerns(tag: string): boolean {
    return this.#bearers.has(tag) || this.#shunners.has(tag);
  }

  #hold(family: Map<string, Set<DomainCount>>, key: string, rule: PlacementRule): DomainCount {
    let count = this.#counts.get(key);
    if (!count) {
      count = new DomainCount(key, this.#scopeOf(rule.scope), rule.tags);
      this.#counts.set(key, count);
      const first = rule.tags[0]!;
      family.set(first, (family.get(first) ?? new Set()).add(count));
      this.version++;
      this.#begin(count, family === this.#bearers);
    }
    count.holders++;
    return count;
  }

  /** Counts those who are there already. */
  #begin(count: DomainCount, bearers: boolean): void {
    const counted = new Set<Kin>();
    for (const kin of this.#kins) {
      if (kin.placed === 0) continue;
      const is = bearers
        ? bears(count.tags, kin.workload, kin.profile.tags)
        : kin.rules.some(({ rule }) => keepsAway(rule) && shunKey(rule) === count.key);
      if (is) counted.add(kin);
    }
    if (counted.size === 0) return;
    for (const { kin, slot, leaving } of this.#placed()) {
      if (!counted.has(kin)) continue;
      if (leaving) count.addLeaving(slot, 1);
      else count.add(slot, 1);
    }
  }

  #release(family: Map<string, Set<DomainCount>>, count: DomainCount): void {
    if (--count.holders > 0) return;
    this.#counts.delete(count.key);
    const first = count.tags[0]!;
    const set = family.get(first)!;
    set.delete(count);
    if (set.size === 0) family.delete(first);
    this.version++;
  }
}

/** A rule that holds the other way around too: who must be without somebody is not joined by them either. */
function keepsAway({ required, max }: PlacementRule): boolean {
  return required && max === 0;
}

function shunKey({ scope, tags }: PlacementRule): string {
  return `shuns ${scope} ${JSON.stringify(tags)}`;
}

/** Whether the domain of the node is as the rule says, for one more instance there. */
export function meets({ rule, count, own }: BoundRule, requirement: Requirement, slot: number): boolean {
  const value = count.scope.values[slot]!;
  const { min, max, maxSkew } = rule;
  if (max !== undefined && value >= 0 && count.present(value) > max) return false;
  if (min === undefined && maxSkew === undefined) return true;
  if (value < 0) return false;
  if (min !== undefined && count.staying(value) < (own ? Math.min(min, count.total) : min)) return false;
  if (maxSkew === undefined) return true;
  return count.staying(value) + (own ? 1 : 0) - requirement.fewest(count) <= maxSkew;
}

/** A rule in words. */
export function describeRule({ scope, tags, min, max, maxSkew }: PlacementRule): string {
  const parts = [
    ...(min === undefined ? [] : [`at least ${min}`]),
    ...(max === undefined ? [] : [`at most ${max}`]),
    ...(maxSkew === undefined ? [] : [`evenly spread (by ${maxSkew})`]),
  ];
  return `${parts.join(', ')} of ${tags.join(' and ')} per ${scope}`;
}
