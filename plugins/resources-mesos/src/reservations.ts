import type { EventData } from '@cloudos/sdk';
import { Bundle } from './bundle.ts';

/** The label that names the role out of whose reservation another one was refined. */
export const refinesLabel = 'mesos/refines';

/** Resources of one node that are set aside for a role. */
export interface Reservation {
  readonly owner: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly principal: string | undefined;
  /** Where another resource manager made it part of a named one. */
  readonly reservation: string | undefined;
  readonly index: number | undefined;
  readonly amounts: Bundle;
  /** From the configuration, not from an event: it cannot be given up. */
  readonly fixed: boolean;
}

type Reserved = EventData<'ResourcesReserved'>;

/** What is set aside on which node, for whom. */
export class Reservations {
  readonly #byNode = new Map<number, Reservation[]>();
  /** Counts changes. */
  version = 0;

  /** Slots of the nodes that have any. */
  get slots(): Iterable<number> {
    return this.#byNode.keys();
  }

  get isEmpty(): boolean {
    return this.#byNode.size === 0;
  }

  on(slot: number): readonly Reservation[] {
    return this.#byNode.get(slot) ?? none;
  }

  reserve(slot: number, data: Omit<Reserved, 'node'>, fixed = false): void {
    this.version++;
    const amounts = Bundle.of(data.resources);
    const same = this.#same(slot, data, fixed);
    if (same) return void same.amounts.add(amounts, 1);
    const { owner, labels = {}, principal, reservation, index } = data;
    const entry = { owner, labels, principal, reservation, index, amounts, fixed };
    const entries = this.#byNode.get(slot);
    if (entries) entries.push(entry);
    else this.#byNode.set(slot, [entry]);
  }

  unreserve(slot: number, data: Omit<Reserved, 'node'>): void {
    const entry = this.#same(slot, data, false);
    if (!entry) return;
    this.version++;
    entry.amounts.add(Bundle.of(data.resources), -1).floor();
    if (entry.amounts.isEmpty) this.#drop(slot, (other) => other === entry);
  }

  /** The node is gone for good: so is what was set aside on it. */
  forget(slot: number): void {
    if (this.#byNode.delete(slot)) this.version++;
  }

  /** What the configuration said about the node is to be said anew. */
  forgetFixed(slot: number): void {
    if (this.on(slot).length > 0) this.#drop(slot, ({ fixed }) => fixed);
  }

  #drop(slot: number, which: (entry: Reservation) => boolean): void {
    const left = this.on(slot).filter((entry) => !which(entry));
    if (left.length > 0) this.#byNode.set(slot, left);
    else this.#byNode.delete(slot);
    this.version++;
  }

  #same(slot: number, data: Omit<Reserved, 'node'>, fixed: boolean): Reservation | undefined {
    return this.on(slot).find(
      (entry) =>
        entry.fixed === fixed &&
        entry.owner === data.owner &&
        entry.reservation === data.reservation &&
        entry.index === data.index &&
        sameLabels(entry.labels, data.labels ?? {}),
    );
  }
}

const none: readonly never[] = [];

export function sameLabels(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}

/** Whether what is set aside for that owner is for the role as well: its own, and that of the roles above it. */
export function isFor(owner: string, role: string): boolean {
  return role === owner || role.startsWith(`${owner}/`);
}

/**
 * What nobody uses of what is set aside on a node, by owner. A role uses its own reservation first, then those of the
 * roles above it, the nearest first, then what is not reserved: so it depends on the sums alone.
 */
export function unusedByOwner(
  reservations: readonly Reservation[],
  usedByRole: ReadonlyMap<string, Bundle>,
): Map<string, Bundle> {
  const reserved = new Map<string, Bundle>();
  for (const { owner, amounts } of reservations) reserved.set(owner, bundleAt(reserved, owner).add(amounts, 1));
  const flow = new Map<string, Bundle>();
  for (const [role, used] of usedByRole) flow.set(role, used.copy());
  const paths = new Set<string>(reserved.keys());
  for (const role of usedByRole.keys()) for (const path of lineOf(role)) paths.add(path);
  const unused = new Map<string, Bundle>();
  for (const path of [...paths].sort((one, other) => depthOf(other) - depthOf(one))) {
    const used = bundleAt(flow, path);
    const own = reserved.get(path);
    if (own) unused.set(path, own.copy().add(used, -1).floor());
    const parent = parentOf(path);
    if (parent === '') continue;
    const over = own ? used.copy().add(own, -1).floor() : used;
    flow.set(parent, bundleAt(flow, parent).add(over, 1));
  }
  return unused;
}

function bundleAt(bundles: ReadonlyMap<string, Bundle>, path: string): Bundle {
  return bundles.get(path) ?? new Bundle();
}

/** The role and those above it, the nearest first. */
export function lineOf(role: string): string[] {
  const line: string[] = [];
  for (let path = role; path !== ''; path = parentOf(path)) line.push(path);
  return line;
}

export function parentOf(role: string): string {
  return role.slice(0, Math.max(0, role.lastIndexOf('/')));
}

function depthOf(role: string): number {
  return role.split('/').length;
}
