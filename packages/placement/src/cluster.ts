import type { EventData, SharedEvent } from '@cloudos/sdk';
import { AllocSets, applyReservationEvent, vacateAlloc } from './alloc-sets.ts';
import { type AdmittedRequest, type ClusterOptions, together } from './cluster-options.ts';
import { CompanyIndex } from './company.ts';
import { noteGuestImage } from './images.ts';
import { InstanceRecord } from './instance-record.ts';
import { Kin } from './kin.ts';
import { estimateUsage, lend, reviewOverdraft } from './lending.ts';
import { applyNodeEvent } from './node-events.ts';
import { NodeTable } from './node-table.ts';
import { OwnerTree } from './owner-tree.ts';
import { PendingGroups } from './pending-groups.ts';
import { Profiles } from './profile.ts';
import { Shapes } from './shape.ts';
import { Tentative } from './tentative.ts';
import { signatureOf } from './unplaceable.ts';
import { WorkloadRecord } from './workload-record.ts';

/**
 * The cluster as the shared events tell it: nodes, what is placed on them, who waits. Every event costs the same
 * however large the cluster is, except for the loss of a node, which costs its instances.
 */
export class Cluster {
  readonly options: ClusterOptions;
  readonly nodes: NodeTable;
  readonly shapes: Shapes;
  readonly profiles = new Profiles();
  /** The numbers that rules about company are about. */
  readonly company: CompanyIndex;
  readonly owners = new OwnerTree();
  /** Named reservations and who runs in them. */
  readonly allocs = new AllocSets();
  /** What the last round has decided and the log has not told yet. */
  readonly tentative = new Tentative((record, slot) => this.vacate(record, slot));
  readonly instances = new Map<string, InstanceRecord>();
  readonly workloads = new Map<string, WorkloadRecord>();
  readonly groups: PendingGroups;
  /** Those for whom others are being preempted. They wait outside of the groups. */
  readonly nominees = new Map<string, InstanceRecord>();
  /** Slots of the nodes that are being drained. */
  readonly draining = new Set<number>();
  /** Slots of the nodes that will be taken down for maintenance. */
  readonly maintained = new Set<number>();
  /** Slots of the nodes where more is needed after all than there is. */
  readonly overdrawn = new Set<number>();
  /** Requests and placements so far: they seed what looks like chance. */
  requested = 0;
  placements = 0;
  /** Counts events. */
  version = 0;
  /** The version at which the nodes, their facts or states, or what owners may use changed last. */
  factsChangedAt = 0;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.groups = new PendingGroups(options.groupByWorkload === true, options.notesChanges);
    this.nodes = new NodeTable(options.tiers, options.domains, options.lending !== undefined);
    this.shapes = new Shapes(this.nodes.facts);
    this.company = new CompanyIndex(
      (attribute) => this.nodes.scope(attribute),
      () => this.#placedOnes(),
    );
  }

  /** Takes in an event of the log. Types that do not concern placement are ignored. */
  apply(event: SharedEvent): void {
    this.version++;
    this.tentative.meet(event);
    this.#take(event);
    if (this.nominees.size > 0 && !this.company.idle) this.#reviewCompany();
  }

  #take(event: SharedEvent): void {
    switch (event.type) {
      case 'InstanceRequested':
        return this.#request(event.data);
      case 'InstancePlaced':
        return this.place(event.data.instance, event.data.node);
      case 'GuestRemoved':
        return this.#guestRemoved(event.data.instance, event.data.node);
      case 'InstanceWithdrawn':
        return this.#withdraw(event.data.instance);
      case 'InstanceUnplaceable':
        return this.#tell(event.data.instance, signatureOf(event.data.reasons));
      case 'InstancePreempted':
        return this.#preempt(event.data);
      case 'WorkloadDeclared':
      case 'WorkloadChanged':
        return this.#declare(event.data.workload, event.data.template.stopGraceMs);
      case 'WorkloadRemoved':
        return this.#removeWorkload(event.data.workload);
      case 'GuestCreated':
        return noteGuestImage(this, event.data.instance, event.data.node);
      case 'QuotaSet':
        this.factsChangedAt = this.version;
        return this.owners.setQuota(event.data, this.#withPlace());
      case 'QuotaRemoved':
        this.factsChangedAt = this.version;
        return this.owners.removeQuota(event.data);
      case 'OwnerStateChanged':
        this.factsChangedAt = this.version;
        return this.owners.setState(event.data);
      case 'GuestUsageEstimated':
        return estimateUsage(this, event.data);
      case 'ReservationRequested':
      case 'ReservationWithdrawn':
      case 'ResourcesReserved':
      case 'ResourcesUnreserved':
        if (this.options.reservations) applyReservationEvent(this, event);
        return;
      default:
        applyNodeEvent(this, event);
    }
  }

  *#withPlace(): Generator<InstanceRecord> {
    for (const record of this.instances.values()) if (record.slot >= 0) yield record;
  }

  *#placedOnes(): Generator<{ kin: Kin; slot: number; leaving: boolean }> {
    for (const { kin, slot, phase } of this.#withPlace()) yield { kin, slot, leaving: phase === 'leaving' };
  }

  /** Everyone on the node counts (1), or does not for the moment (-1), in what is counted by attributes of nodes. */
  recount(slot: number, by: 1 | -1): void {
    for (const record of this.nodes.facts[slot]!.instances) {
      if (record.phase === 'placed') record.workload.count(slot, this.nodes.domains, by);
      this.#count(record, slot, by, record.phase === 'leaving');
    }
  }

  #count({ kin }: InstanceRecord, slot: number, by: 1 | -1, leaving: boolean): void {
    if (this.company.idle) return;
    for (const count of this.company.countsOf(kin)) {
      if (leaving) count.addLeaving(slot, by);
      else count.add(slot, by);
    }
  }

  #workload(name: string): WorkloadRecord {
    let workload = this.workloads.get(name);
    if (!workload) {
      workload = new WorkloadRecord(name);
      this.workloads.set(name, workload);
    }
    return workload;
  }

  #declare(name: string, graceMs: number): void {
    const workload = this.#workload(name);
    workload.graceMs = graceMs;
    workload.removed = false;
  }

  /** What a snapshot says about a workload. */
  restoreWorkload(name: string, removed: boolean, graceMs: number | undefined): void {
    Object.assign(this.#workload(name), { removed, graceMs });
  }

  #removeWorkload(name: string): void {
    const workload = this.#workload(name);
    workload.removed = true;
    if (workload.instances === 0) this.workloads.delete(name);
  }

  #request(data: EventData<'InstanceRequested'>): void {
    if (this.instances.has(data.instance)) return;
    this.groups.enqueue(this.admit(data.instance, together(data, this.options), this.requested));
  }

  #kin(workload: WorkloadRecord, request: AdmittedRequest): Kin {
    const { lastKin } = workload;
    if (lastKin?.profile.says(request) && lastKin.instances > 0) {
      lastKin.instances++;
      return lastKin;
    }
    const profile = this.profiles.hold(request);
    let kin = workload.kins.get(profile.key);
    if (kin) this.profiles.release(profile);
    else {
      kin = new Kin(workload, profile);
      workload.kins.set(profile.key, kin);
      this.company.enter(kin);
    }
    kin.instances++;
    workload.lastKin = kin;
    return kin;
  }

  #releaseKin(kin: Kin): void {
    if (--kin.instances > 0) return;
    this.company.exit(kin);
    kin.workload.kins.delete(kin.profile.key);
    this.profiles.release(kin.profile);
  }

  /** A new record, known but in no queue and on no node yet. */
  admit(id: string, request: AdmittedRequest, order: number): InstanceRecord {
    const { priority } = request;
    const workload = this.#workload(request.workload);
    const shape = this.shapes.hold(request, workload.lastShape);
    workload.lastShape = shape;
    workload.instances++;
    const record = new InstanceRecord(
      id,
      order,
      this.#kin(workload, request),
      shape,
      priority,
      this.options.tierOf(priority),
    );
    this.instances.set(id, record);
    this.requested = Math.max(this.requested, order + 1);
    return record;
  }

  /** The instance, or part of a reservation, shall run on that node. */
  place(instance: string, node: string): void {
    const { next, nextSlot } = this.tentative;
    const record = next?.id === instance ? next : this.instances.get(instance);
    if (!record) return;
    this.placements++;
    this.groups.dequeue(record);
    this.#endNomination(record);
    if (record.slot >= 0) this.#release(record);
    const slot = this.nodes.slotOf(node, record === next ? nextSlot : -1);
    if (slot < 0 || this.nodes.facts[slot]!.state !== 'ready') {
      this.tentative.takeBack();
      return this.forget(record);
    }
    if (this.tentative.confirm(record, slot)) this.#seat(record, slot);
    else this.settle(record, slot);
    this.reviewNominees(slot);
  }

  /** The record is on that node from now on. @param part which part of its reservation it is in, where that is known */
  settle(record: InstanceRecord, slot: number, part?: number): void {
    this.#seat(record, slot);
    this.occupy(record, slot, part);
  }

  #seat(record: InstanceRecord, slot: number): void {
    record.phase = 'placed';
    record.slot = slot;
    this.nodes.facts[slot]!.instances.add(record);
    record.kin.placed++;
  }

  /** Whether rules about company, its own and those of others, let the instance be on the node. */
  companyAllows({ kin, shape }: InstanceRecord, slot: number): boolean {
    return !this.company.binds(kin) || this.company.allows(kin, shape.requirement, slot);
  }

  /** Takes what the instance needs from the node, its owner and its company. Undone by {@link vacate}. */
  occupy(record: InstanceRecord, slot: number, part?: number): void {
    if (!this.allocs.enter(record, slot, part)) {
      this.nodes.take(slot, record.shape, record.tier);
      this.owners.account(record, 1);
    }
    record.workload.count(slot, this.nodes.domains, 1);
    this.#count(record, slot, 1, false);
  }

  vacate(record: InstanceRecord, slot: number): void {
    if (!this.allocs.exit(record)) {
      this.nodes.give(slot, record.shape, record.tier);
      this.owners.account(record, -1);
    }
    record.workload.count(slot, this.nodes.domains, -1);
    this.#count(record, slot, -1, false);
  }

  #withdraw(instance: string): void {
    const record = this.instances.get(instance);
    if (!record) return;
    if (record.phase === 'pending') this.forget(record);
    else this.leave(record);
  }

  /** The record will give its place up: it keeps the resources and does not count for spreading any more. */
  leave(record: InstanceRecord): void {
    if (record.phase !== 'placed') return;
    record.phase = 'leaving';
    this.nodes.facts[record.slot]!.leaving++;
    if (!this.allocs.around(record)) this.nodes.leave(record.slot, record.shape, 1);
    record.workload.count(record.slot, this.nodes.domains, -1);
    this.countLeaving(record, 1);
  }

  /** It counts among those who are about to leave (1), or does not after all (-1), as far as company goes. */
  countLeaving(record: InstanceRecord, by: 1 | -1): void {
    this.#count(record, record.slot, by === 1 ? -1 : 1, false);
    this.#count(record, record.slot, by, true);
  }

  #preempt({ instance, by, node }: EventData<'InstancePreempted'>): void {
    const victim = this.instances.get(instance);
    if (victim) this.leave(victim);
    const record = by === undefined ? undefined : this.instances.get(by);
    const slot = this.nodes.slotOf(node);
    if (record?.phase === 'pending' && slot >= 0) this.nominate(record, slot);
  }

  /** Others are being preempted on that node for the record. */
  nominate(record: InstanceRecord, slot: number): void {
    if (record.nominated === slot) return;
    this.groups.dequeue(record);
    this.#endNomination(record);
    record.nominated = slot;
    this.nominees.set(record.id, record);
    this.nodes.reserve(slot, record.shape, 1);
  }

  #endNomination(record: InstanceRecord): void {
    if (record.nominated < 0) return;
    this.nodes.reserve(record.nominated, record.shape, -1);
    record.nominated = -1;
    this.nominees.delete(record.id);
  }

  /** Those for whom there is no room though everyone who was to leave is gone wait like others again. */
  reviewNominees(slot: number): void {
    if (this.nominees.size === 0 || this.nodes.facts[slot]!.leaving > 0) return;
    this.requeueNominees(slot, (record) => !this.nodes.fitsReserved(slot, record.shape));
  }

  /** The same where company has come to forbid the node. */
  #reviewCompany(): void {
    for (const record of [...this.nominees.values()]) {
      const slot = record.nominated;
      if (this.nodes.facts[slot]!.leaving > 0 || this.companyAllows(record, slot)) continue;
      this.requeueNominees(slot, (other) => other === record);
    }
  }

  /** Those for whom others were preempted on the node wait like others again. */
  requeueNominees(slot: number, which: (record: InstanceRecord) => boolean = () => true): void {
    for (const record of [...this.nominees.values()]) {
      if (record.nominated !== slot || !which(record)) continue;
      this.#endNomination(record);
      this.groups.enqueue(record);
    }
  }

  #tell(instance: string, signature: string): void {
    const record = this.instances.get(instance);
    if (!record) return;
    if (record.group) this.groups.tell(record.group, record, signature, this.version);
    else record.told = signature;
  }

  #guestRemoved(instance: string, node: string): void {
    const record = this.instances.get(instance);
    if (!record || record.slot < 0 || this.nodes.facts[record.slot]!.id !== node) return;
    const { slot } = record;
    this.forget(record);
    this.reviewNominees(slot);
  }

  #release(record: InstanceRecord): void {
    const { slot } = record;
    const facts = this.nodes.facts[slot]!;
    const alloc = this.allocs.around(record);
    facts.instances.delete(record);
    record.kin.placed--;
    if (this.options.lending) lend(this, record, 0, 0);
    if (record.phase === 'leaving') {
      facts.leaving--;
      this.#count(record, slot, -1, true);
      if (!this.allocs.exit(record)) {
        this.nodes.leave(slot, record.shape, -1);
        this.nodes.give(slot, record.shape, record.tier);
        this.owners.account(record, -1);
      }
    } else this.vacate(record, slot);
    record.slot = -1;
    record.phase = 'pending';
    if (this.overdrawn.size > 0) reviewOverdraft(this, slot);
    if (alloc?.closing && alloc.inside.size === 0) vacateAlloc(this, alloc);
  }

  /** It loses its place and is known still. */
  unseat(record: InstanceRecord): void {
    if (record.slot >= 0) this.#release(record);
  }

  /** The record is gone. */
  forget(record: InstanceRecord): void {
    this.groups.dequeue(record);
    this.#endNomination(record);
    if (record.slot >= 0) this.#release(record);
    this.instances.delete(record.id);
    this.shapes.release(record.shape);
    const { workload } = record;
    this.#releaseKin(record.kin);
    if (--workload.instances === 0 && (workload.removed || workload.graceMs === undefined)) {
      this.workloads.delete(workload.name);
    }
  }
}
