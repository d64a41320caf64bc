import { type EventData, ownerDefault, type PriorityRange, type ResourceBounds } from '@cloudos/sdk';
import type { InstanceRecord } from './instance-record.ts';
import { describeAmount } from './resource-vector.ts';
import type { Shape } from './shape.ts';

/** The path and those above it, itself first: `a/b`, `a`. */
export function lineage(owner: string): string[] {
  const line = [owner];
  for (let at = owner.lastIndexOf('/'); at >= 0; at = owner.lastIndexOf('/', at - 1)) line.push(owner.slice(0, at));
  return line;
}

/** What an owner, and everyone below, may use at some priorities, and what of that has a place now. */
export class Quota {
  readonly owner: string;
  readonly priority: PriorityRange;
  readonly limit: ResourceBounds;
  readonly guarantee: ResourceBounds | undefined;
  readonly weight: number | undefined;
  /** Epoch milliseconds; absent: for good. */
  readonly until: number | undefined;
  readonly #set: EventData<'QuotaSet'>;
  readonly #used = new Map<string, number>();
  readonly #limits: readonly (readonly [name: string, amount: number])[];

  constructor(set: EventData<'QuotaSet'>) {
    this.#set = set;
    this.owner = set.owner;
    this.priority = set.priority ?? { from: 0, to: 1_000 };
    this.limit = set.limit;
    this.guarantee = set.guarantee;
    this.weight = set.weight;
    this.until = set.until;
    this.#limits = Object.entries(named(set.limit));
  }

  get said(): EventData<'QuotaSet'> {
    return this.#set;
  }

  concerns(priority: number): boolean {
    return priority >= this.priority.from && priority <= this.priority.to;
  }

  usedOf(name: string): number {
    return this.#used.get(name) ?? 0;
  }

  account(shape: Shape, by: 1 | -1): void {
    for (const [name] of this.#limits) this.#used.set(name, this.usedOf(name) + by * amountOf(shape, name));
  }

  /** Why the shape goes beyond it, in words; undefined when it does not. */
  obstacle(shape: Shape, now: number): string | undefined {
    if (this.until !== undefined && now >= this.until) {
      return `the quota of ${this.owner} ended at ${new Date(this.until).toISOString()}`;
    }
    for (const [name, limit] of this.#limits) {
      const wanted = amountOf(shape, name);
      if (wanted === 0 || this.usedOf(name) + wanted <= limit) continue;
      const [used, most, more] = [this.usedOf(name), limit, wanted].map((amount) => describeAmount(name, amount));
      return `${this.owner} uses ${used} of ${most} ${name}, ${more} more would be over its quota`;
    }
    return undefined;
  }
}

/** Owners with their quotas and states. Those of whom nothing was said are not bounded. */
export class OwnerTree {
  readonly #quotas = new Map<string, Quota[]>();
  readonly #stopped = new Set<string>();
  /** By owner of instances: the quotas of the owner and of those above. Derived. */
  readonly #chains = new Map<string, readonly Quota[]>();

  /** @param placed every instance that has a place */
  setQuota(set: EventData<'QuotaSet'>, placed: Iterable<InstanceRecord>): void {
    this.removeQuota(set);
    const quota = new Quota(set);
    this.#quotas.set(set.owner, [...(this.#quotas.get(set.owner) ?? []), quota]);
    this.#chains.clear();
    for (const record of placed) {
      if (quota.concerns(record.priority) && this.#chain(record).includes(quota)) quota.account(record.shape, 1);
    }
  }

  removeQuota({ owner, priority }: EventData<'QuotaRemoved'>): void {
    const { from, to } = priority ?? { from: 0, to: 1_000 };
    const left = (this.#quotas.get(owner) ?? []).filter(
      ({ priority: other }) => other.from !== from || other.to !== to,
    );
    if (left.length > 0) this.#quotas.set(owner, left);
    else this.#quotas.delete(owner);
    this.#chains.clear();
  }

  setState({ owner, state }: EventData<'OwnerStateChanged'>): void {
    if (state === 'stopped') this.#stopped.add(owner);
    else this.#stopped.delete(owner);
  }

  get quotas(): readonly Quota[] {
    return [...this.#quotas.values()].flat();
  }

  get stopped(): readonly string[] {
    return [...this.#stopped];
  }

  quotasOf(owner: string): readonly Quota[] {
    return this.#quotas.get(owner) ?? [];
  }

  isStopped(owner: string): boolean {
    return this.#stopped.size > 0 && lineage(owner).some((each) => this.#stopped.has(each));
  }

  /** The instance takes a place (1) or gives it up (-1). */
  account(record: InstanceRecord, by: 1 | -1): void {
    if (this.#quotas.size === 0) return;
    for (const quota of this.#chain(record)) if (quota.concerns(record.priority)) quota.account(record.shape, by);
  }

  /**
   * What keeps the owner from one more such instance: a constraint and words; undefined when nothing does.
   * @param now epoch milliseconds
   */
  obstacle(record: InstanceRecord, now: number): { constraint: string; message: string } | undefined {
    const { owner } = record.kin.profile;
    if (this.isStopped(owner)) return { constraint: 'owner', message: `${owner} takes no new instances` };
    if (this.#quotas.size === 0) return undefined;
    for (const quota of this.#chain(record)) {
      const message = quota.concerns(record.priority) ? quota.obstacle(record.shape, now) : undefined;
      if (message !== undefined) return { constraint: 'quota', message };
    }
    return undefined;
  }

  #chain({ kin }: InstanceRecord): readonly Quota[] {
    const owner = kin.profile.owner ?? ownerDefault;
    let chain = this.#chains.get(owner);
    if (!chain) {
      chain = lineage(owner).flatMap((each) => this.#quotas.get(each) ?? []);
      this.#chains.set(owner, chain);
    }
    return chain;
  }
}

function named({ cpuMillis, memoryBytes, diskBytes, pids, custom }: ResourceBounds): Record<string, number> {
  const all = { cpu: cpuMillis, memory: memoryBytes, disk: diskBytes, pids, ...custom };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, number] => entry[1] !== undefined));
}

function amountOf(shape: Shape, name: string): number {
  switch (name) {
    case 'cpu':
      return shape.cpu;
    case 'memory':
      return shape.memory;
    case 'disk':
      return shape.disk;
    case 'pids':
      return shape.pids;
    default:
      return shape.custom.find(([own]) => own === name)?.[1] ?? 0;
  }
}
