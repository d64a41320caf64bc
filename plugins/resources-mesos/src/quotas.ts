import { type Shape, width } from '@cloudos/placement';
import type { EventData } from '@cloudos/sdk';
import { Bundle } from './bundle.ts';
import { lineOf } from './reservations.ts';
import type { ShareTree } from './share-tree.ts';

/** What a role may use and what it is promised, both with the roles below it. */
export interface Quota {
  readonly data: EventData<'QuotaSet'>;
  /** Infinite where nothing is said. */
  readonly limit: Bundle;
  /** Zero where nothing is said. */
  readonly guarantee: Bundle | undefined;
}

/**
 * Quota of roles as Mesos 1.9 has it (docs/quota.md): a limit that is never passed and a guarantee that is served
 * first and kept free. A quota for a range of priorities, which Borg knows, does not concern it.
 */
export class Quotas {
  readonly #quotas = new Map<string, Quota>();
  readonly #stopped = new Set<string>();
  readonly #shares: ShareTree;
  readonly #weights: Readonly<Record<string, number>>;

  /** @param weights of roles of which no quota says one */
  constructor(shares: ShareTree, weights: Readonly<Record<string, number>>) {
    this.#shares = shares;
    this.#weights = weights;
  }

  get all(): ReadonlyMap<string, Quota> {
    return this.#quotas;
  }

  get stopped(): ReadonlySet<string> {
    return this.#stopped;
  }

  set(data: EventData<'QuotaSet'>): void {
    if (data.priority) return;
    const guarantee = data.guarantee && Bundle.ofBounds(data.guarantee, 0);
    const limit = Bundle.ofBounds(data.limit, Number.POSITIVE_INFINITY);
    this.#quotas.set(data.owner, { data, limit, guarantee: guarantee?.isEmpty ? undefined : guarantee });
    this.#shares.setWeight(data.owner, data.weight ?? this.#weightOf(data.owner));
  }

  remove({ owner, priority }: EventData<'QuotaRemoved'>): void {
    if (priority || !this.#quotas.delete(owner)) return;
    this.#shares.setWeight(owner, this.#weightOf(owner));
  }

  #weightOf(role: string): number {
    return this.#weights[role] ?? 1;
  }

  setState({ owner, state }: EventData<'OwnerStateChanged'>): void {
    if (state === 'stopped') this.#stopped.add(owner);
    else this.#stopped.delete(owner);
  }

  /** The role, or the nearest one above it, that takes nothing new. */
  stoppedAt(role: string): string | undefined {
    if (this.#stopped.size === 0) return undefined;
    return lineOf(role).find((path) => this.#stopped.has(path));
  }

  /**
   * The role in the line of that role whose limit the shape would pass. What is set aside and unused counts as used,
   * except for what the shape takes of it.
   */
  exceededBy(role: string, shape: Shape, unusedReserved: (role: string) => Bundle | undefined): string | undefined {
    if (this.#quotas.size === 0) return undefined;
    return lineOf(role).find((path) => {
      const quota = this.#quotas.get(path);
      if (!quota) return false;
      return !headroom(quota, this.#shares, path, unusedReserved(path)).coversShape(shape);
    });
  }

  /** How much more the role may be given, infinite where nothing bounds it. */
  roomFor(role: string, unusedReserved: (role: string) => Bundle | undefined): Bundle | undefined {
    let room: Bundle | undefined;
    for (const path of lineOf(role)) {
      const quota = this.#quotas.get(path);
      if (!quota) continue;
      const here = headroom(quota, this.#shares, path, unusedReserved(path)).floor();
      room = room ? least(room, here) : here;
    }
    return room;
  }

  /** What is promised and not used yet, by role that has a guarantee. */
  unmet(): Map<string, Bundle> {
    const unmet = new Map<string, Bundle>();
    for (const [role, { guarantee }] of this.#quotas) {
      if (!guarantee) continue;
      const missing = guarantee.copy().add(this.#shares.role(role).allocated, -1).floor();
      for (const name of missing.custom?.keys() ?? []) if (guarantee.amountOf(name) === 0) missing.custom!.delete(name);
      if (!missing.isEmpty) unmet.set(role, missing);
    }
    return unmet;
  }
}

function headroom({ limit }: Quota, shares: ShareTree, role: string, unused: Bundle | undefined): Bundle {
  const { allocated } = shares.role(role);
  const room = new Bundle();
  for (let dimension = 0; dimension < width; dimension++) {
    room.plain[dimension] = limit.plain[dimension]! - allocated.plain[dimension]! - (unused?.plain[dimension] ?? 0);
  }
  room.custom = new Unlimited();
  for (const [name, amount] of limit.custom ?? []) {
    room.custom.set(name, amount - allocated.amountOf(name) - (unused?.amountOf(name) ?? 0));
  }
  return room;
}

/** Named resources of which there is no bound unless one is given. */
class Unlimited extends Map<string, number> {
  override get(name: string): number {
    return super.get(name) ?? Number.POSITIVE_INFINITY;
  }
}

function least(one: Bundle, other: Bundle): Bundle {
  const both = new Bundle();
  for (let dimension = 0; dimension < width; dimension++) {
    both.plain[dimension] = Math.min(one.plain[dimension]!, other.plain[dimension]!);
  }
  both.custom = new Unlimited();
  for (const name of [...(one.custom?.keys() ?? []), ...(other.custom?.keys() ?? [])]) {
    both.custom.set(name, Math.min(one.amountOf(name), other.amountOf(name)));
  }
  return both;
}
