import type { EventData, ReservationSpec, SharedEvent } from '@cloudos/sdk';
import type { Cluster } from './cluster.ts';
import type { AdmittedRequest } from './cluster-options.ts';
import type { InstanceRecord } from './instance-record.ts';
import type { Shape } from './shape.ts';

/** Priority of a reservation that names none. */
const priorityDefault = 100;

/** One part of a named reservation: resources on one node in which instances run (an alloc of Borg, section 2.4). */
export class Alloc {
  readonly set: AllocSet;
  readonly index: number;
  /** Stands for the part where nodes are concerned: it waits, has a place and loses it as an instance does. */
  readonly record: InstanceRecord;
  /** Taken by those who run in it. */
  readonly used: [cpu: number, memory: number, disk: number, pids: number] = [0, 0, 0, 0];
  readonly inside = new Set<InstanceRecord>();
  /** Loses its place as soon as nobody is in it any more. */
  closing = false;

  constructor(set: AllocSet, index: number, record: InstanceRecord) {
    this.set = set;
    this.index = index;
    this.record = record;
  }

  /** How much is left of what would be left of it, as a share; negative where the shape does not fit. */
  leftAfter(shape: Shape): number {
    const { shape: own } = this.record;
    let left = 0;
    for (let dimension = 0; dimension < this.used.length; dimension++) {
      const wanted = shape.amount(dimension);
      const rest = own.amount(dimension) - this.used[dimension]! - wanted;
      if (wanted > 0 && rest < 0) return -1;
      left += own.amount(dimension) > 0 ? Math.max(0, rest) / own.amount(dimension) : 0;
    }
    return shape.plain ? left : -1;
  }
}

/** A named reservation: its parts are placed one by one, each wherever there is room (an alloc set of Borg). */
export interface AllocSet {
  readonly spec: ReservationSpec;
  readonly allocs: (Alloc | undefined)[];
  withdrawn: boolean;
}

/** How the record of a part is called. No instance of an orchestrator has a name like it. */
export function allocId(reservation: string, index: number): string {
  return `reservation ${reservation} ${index}`;
}

/** Named reservations, and who runs in them. */
export class AllocSets {
  readonly sets = new Map<string, AllocSet>();
  readonly #inside = new Map<InstanceRecord, Alloc>();
  readonly #byRecord = new Map<InstanceRecord, Alloc>();

  /** The part that the record stands for. */
  of(record: InstanceRecord): Alloc | undefined {
    return this.#byRecord.size === 0 ? undefined : this.#byRecord.get(record);
  }

  /** The part that the instance runs in. */
  around(record: InstanceRecord): Alloc | undefined {
    return this.#inside.size === 0 ? undefined : this.#inside.get(record);
  }

  /** Whether the instance asks to run in a reservation. */
  asks({ kin }: InstanceRecord): boolean {
    return kin.profile.reservation !== undefined && kin.profile.reservation[0] !== partMark;
  }

  /** The part with room in which least would be left; of the parts on one node where it is given. */
  choose(record: InstanceRecord, fits: (slot: number) => boolean): Alloc | undefined {
    const { reservation } = record.kin.profile;
    const set = reservation === undefined ? undefined : this.sets.get(reservation);
    let best: Alloc | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const alloc of set?.allocs ?? []) {
      if (alloc?.record.phase !== 'placed' || alloc.closing || !fits(alloc.record.slot)) continue;
      const left = alloc.leftAfter(record.shape);
      if (left < 0 || left >= least) continue;
      least = left;
      best = alloc;
    }
    return best;
  }

  /** The instance takes what it needs from a part on the node. False where it runs in none. */
  enter(record: InstanceRecord, slot: number, index?: number): boolean {
    if (!this.asks(record)) return false;
    const set = this.sets.get(record.kin.profile.reservation!);
    const alloc = index === undefined ? this.choose(record, (at) => at === slot) : set?.allocs[index];
    if (!alloc) return false;
    alloc.inside.add(record);
    this.#inside.set(record, alloc);
    account(alloc, record.shape, 1);
    return true;
  }

  /** It gives it back. The part that it was in, if it was in one. */
  exit(record: InstanceRecord): Alloc | undefined {
    const alloc = this.around(record);
    if (!alloc) return undefined;
    alloc.inside.delete(record);
    this.#inside.delete(record);
    account(alloc, record.shape, -1);
    return alloc;
  }

  add(set: AllocSet, index: number, record: InstanceRecord): void {
    const alloc = new Alloc(set, index, record);
    set.allocs[index] = alloc;
    this.#byRecord.set(record, alloc);
  }

  /** The part is not wanted any more. */
  remove(alloc: Alloc): void {
    this.#byRecord.delete(alloc.record);
    alloc.set.allocs[alloc.index] = undefined;
    if (alloc.set.withdrawn && alloc.set.allocs.every((other) => other === undefined)) {
      this.sets.delete(alloc.set.spec.reservation);
    }
  }
}

/** Keeps records of parts apart from instances that run in them. */
const partMark = '@';

function account({ used }: Alloc, shape: Shape, by: 1 | -1): void {
  for (let dimension = 0; dimension < used.length; dimension++) {
    used[dimension] = used[dimension]! + by * shape.amount(dimension);
  }
}

/** What the record of a part is made from. */
function requestOf({ reservation, owner, resources, priority, node, constraints, placement }: ReservationSpec) {
  const request: AdmittedRequest = {
    workload: `reservation ${reservation}`,
    owner,
    requests: resources,
    priority: priority ?? priorityDefault,
    reservation: partMark + reservation,
    ...(node !== undefined && { node }),
    ...(constraints !== undefined && { constraints }),
    ...(placement !== undefined && { placement }),
  };
  return request;
}

/** Takes in an event about named reservations. Others are ignored. */
export function applyReservationEvent(cluster: Cluster, event: SharedEvent): void {
  switch (event.type) {
    case 'ReservationRequested':
      return request(cluster, event.data);
    case 'ReservationWithdrawn':
      return withdraw(cluster, event.data.reservation);
    case 'ResourcesReserved':
      if (event.data.reservation === undefined) return;
      return cluster.place(allocId(event.data.reservation, event.data.index ?? 0), event.data.node);
    case 'ResourcesUnreserved': {
      const { reservation, index = 0 } = event.data;
      const alloc = reservation === undefined ? undefined : cluster.allocs.sets.get(reservation)?.allocs[index];
      if (alloc) close(cluster, alloc);
    }
  }
}

function request(cluster: Cluster, spec: ReservationSpec): void {
  if (cluster.allocs.sets.has(spec.reservation)) return;
  const set: AllocSet = { spec, allocs: [], withdrawn: false };
  cluster.allocs.sets.set(spec.reservation, set);
  for (let index = 0; index < spec.count; index++) {
    const record = cluster.admit(allocId(spec.reservation, index), requestOf(spec), cluster.requested);
    cluster.allocs.add(set, index, record);
    cluster.groups.enqueue(record);
  }
}

function withdraw(cluster: Cluster, reservation: string): void {
  const set = cluster.allocs.sets.get(reservation);
  if (!set) return;
  set.withdrawn = true;
  for (const alloc of set.allocs.filter((each) => each !== undefined)) close(cluster, alloc);
}

function close(cluster: Cluster, alloc: Alloc): void {
  if (alloc.record.slot >= 0 && !alloc.closing) {
    alloc.closing = true;
    cluster.leave(alloc.record);
  }
  if (alloc.inside.size === 0) vacateAlloc(cluster, alloc);
}

/** Nobody is in the part: it gives its place up, and waits for another unless the reservation is withdrawn. */
export function vacateAlloc(cluster: Cluster, alloc: Alloc): void {
  alloc.closing = false;
  if (alloc.set.withdrawn) {
    cluster.allocs.remove(alloc);
    cluster.forget(alloc.record);
    return;
  }
  cluster.unseat(alloc.record);
  if (!alloc.record.group && alloc.record.nominated < 0) cluster.groups.enqueue(alloc.record);
}

/** Named reservations as plain data. */
export interface SavedAllocs {
  readonly sets: readonly { readonly spec: ReservationSpec; readonly withdrawn: boolean; readonly closing: number[] }[];
  /** Who runs in which part. */
  readonly inside: readonly (readonly [instance: string, index: number])[];
}

export function saveAllocs({ allocs, instances }: Cluster): SavedAllocs {
  return {
    sets: [...allocs.sets.values()].map(({ spec, withdrawn, allocs: parts }) => ({
      spec,
      withdrawn,
      closing: parts.flatMap((part) => (part?.closing ? [part.index] : [])),
    })),
    inside: [...instances.values()].flatMap((record) => {
      const alloc = allocs.around(record);
      return alloc ? [[record.id, alloc.index] as const] : [];
    }),
  };
}

export type Reserved = EventData<'ResourcesReserved'>;

/** What the log says when the part gets or loses its place on the node. */
export function reservedOf({ set: { spec }, index }: Alloc, node: string): Reserved {
  const { reservation, owner, resources, labels, principal } = spec;
  return {
    ...{ reservation, index, owner, node, resources },
    ...(labels !== undefined && { labels }),
    ...(principal !== undefined && { principal }),
  };
}
