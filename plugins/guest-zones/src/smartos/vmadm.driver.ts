import { join } from 'node:path';
import { ExitLedger, type GuestRecords } from '@cloudos/host-tools';
import {
  CloudosError,
  type ExecRequest,
  type ExecSession,
  type GuestDriver,
  type GuestExit,
  type GuestFingerprint,
  type GuestLimits,
  type GuestSnapshot,
  type GuestSpec,
  type GuestStats,
  type GuestStatus,
  type LogRequest,
  type OutputChunk,
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import type { HostCommands } from './host-commands.ts';
import { readVmLogs } from './vm-logs.ts';
import type { VmRuns } from './vm-runs.ts';
import { vmStats } from './vm-stats.ts';
import type { Vmadm, VmObject } from './vmadm.ts';
import { checkVmSpec, limitsOf } from './vmadm-payload.ts';
import { exitOf, instanceOfHandle, isRunning, statusOf, type VmRecord } from './vmadm-record.ts';
import { execInVm } from './zlogin-exec.ts';

/** vmadm(8): "64 characters or less", of these. */
const snapshotName = /^[A-Za-z0-9_.:%-]{1,64}$/;

export interface VmadmDriverParts {
  readonly fingerprints: Observable<GuestFingerprint>;
  /** Throws RUNTIME_UNAVAILABLE where there is no SmartOS. */
  readonly check: () => void;
  readonly commands: HostCommands;
  readonly vmadm: Vmadm;
  readonly runs: VmRuns;
  readonly records: GuestRecords<VmRecord>;
}

/** Zones of SmartOS, by vmadm(8). What is known of a guest is in its record and its VM; this object holds none of it. */
export class VmadmDriver implements GuestDriver {
  readonly exits: Observable<GuestExit>;
  readonly #parts: VmadmDriverParts;
  readonly #ledger: ExitLedger<VmRecord>;

  constructor(parts: VmadmDriverParts) {
    this.#parts = parts;
    this.#ledger = new ExitLedger(parts.records, (record) => this.#endOf(record));
    this.exits = this.#ledger.exits;
  }

  fingerprint(): Observable<GuestFingerprint> {
    return this.#parts.fingerprints;
  }

  async create(spec: GuestSpec): Promise<GuestStatus> {
    checkVmSpec(spec);
    this.#parts.check();
    return this.#ledger.locks.run(spec.instance, async () => {
      const before = this.#parts.records.get(spec.instance);
      if (before) return statusOf(before, await this.#parts.vmadm.get(before.uuid));
      return statusOf(await this.#parts.runs.make(spec), undefined);
    });
  }

  async start(instance: string, attempt: number): Promise<GuestStatus> {
    return this.#ledger.locks.run(instance, async () => {
      const { record, vm } = await this.#look(instance);
      const current = statusOf(record, vm);
      if (current.state !== 'created') {
        if (attempt === current.attempt) return current;
        if (current.state !== 'exited' || attempt < current.attempt) {
          throw new CloudosError(
            'GUEST_STATE',
            `${instance}: attempt ${attempt} was asked for, attempt ${current.attempt} is ${current.state}`,
          );
        }
      }
      const begun = await this.#parts.runs.launch(record, attempt, vm);
      return statusOf(begun, await this.#parts.vmadm.get(begun.uuid));
    });
  }

  /** The grace is counted in seconds, and rounded up. */
  async stop(instance: string, graceMs: number): Promise<GuestExit | undefined> {
    return this.#ledger.locks.run(instance, async () => {
      const { record, vm } = await this.#look(instance);
      if (statusOf(record, vm).state !== 'running') return undefined;
      return this.#end(record, graceMs);
    });
  }

  async remove(instance: string): Promise<void> {
    await this.#ledger.locks.run(instance, async () => {
      const record = this.#parts.records.get(instance);
      if (record) await this.#parts.runs.dispose(instance, record.uuid);
    });
  }

  async list(): Promise<readonly GuestStatus[]> {
    const records = await this.#parts.records.all();
    if (records.length === 0) return [];
    this.#parts.check();
    const vms = new Map((await this.#parts.vmadm.all()).map((vm) => [vm.uuid, vm]));
    const statuses: GuestStatus[] = [];
    for (const { spec } of records) {
      const status = await this.#ledger.locks.run(spec.instance, async () => {
        const record = this.#parts.records.get(spec.instance);
        if (!record) return undefined;
        const vm = vms.get(record.uuid);
        return statusOf(await this.#parts.runs.settleLaunch(record, vm), vm);
      });
      if (status) statuses.push(status);
    }
    return statuses;
  }

  async adopt(handle: unknown): Promise<GuestStatus> {
    const instance = instanceOfHandle(handle);
    if (instance === undefined || !this.#parts.records.get(instance)) {
      throw new CloudosError('GUEST_NOT_FOUND', `no zone on this node has the handle ${JSON.stringify(handle)}`);
    }
    return this.#ledger.locks.run(instance, async () => {
      const { record, vm } = await this.#look(instance);
      return statusOf(record, vm);
    });
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const { vm } = await this.#running(instance);
    return execInVm(this.#parts.commands, { uuid: vm.uuid, brand: vm.brand }, request);
  }

  async *logs(instance: string, request: LogRequest): AsyncGenerator<OutputChunk> {
    const { uuid } = this.#record(instance);
    const vm = await this.#parts.vmadm.get(uuid);
    if (!vm) return;
    const hasEnded = async () => !isRunning(await this.#parts.vmadm.get(uuid));
    yield* readVmLogs(join(vm.zonepath ?? `/zones/${uuid}`, 'logs'), request, hasEnded);
  }

  async stats(instance: string): Promise<GuestStats> {
    const { vm } = await this.#running(instance);
    if (vm.zoneid === undefined) throw new CloudosError('GUEST_STATE', `${instance} has no zone in the kernel`);
    return vmStats(this.#parts.commands, vm.zoneid);
  }

  /** All limits are "live updates" of vmadm, that of the disk too. */
  async resize(instance: string, limits: GuestLimits): Promise<GuestStatus> {
    return this.#ledger.locks.run(instance, async () => {
      const { record, vm } = await this.#look(instance);
      const spec = { ...record.spec, template: { ...record.spec.template, ...limits } };
      checkVmSpec(spec);
      await this.#parts.vmadm.update(record.uuid, limitsOf(spec.template));
      return statusOf(await this.#parts.records.save({ ...record, spec }), vm);
    });
  }

  /** Of the zone's own file system. Names are those of ZFS: at most 64 letters, digits and `-_.:%`. */
  async snapshot(instance: string, name: string): Promise<GuestSnapshot> {
    return this.#ledger.locks.run(instance, async () => {
      const { uuid } = this.#record(instance);
      if (!snapshotName.test(name)) {
        throw new CloudosError('SNAPSHOT_INVALID', `a snapshot on SmartOS cannot be called ${name}`, {
          remedy: 'use at most 64 letters, digits and -_.:%',
        });
      }
      const { vmadm } = this.#parts;
      const vm = await vmadm.get(uuid);
      if (vm?.snapshots.some((each) => each.name === name)) await vmadm.deleteSnapshot(uuid, name);
      await vmadm.createSnapshot(uuid, name);
      const made = (await vmadm.get(uuid))?.snapshots.find((each) => each.name === name);
      if (!made) throw new CloudosError('HOST_COMMAND_FAILED', `${instance}: the snapshot ${name} is not there`);
      return { name, sizeBytes: made.size ?? 0, memory: false };
    });
  }

  /** Snapshots that are later than this one are gone with it, as ZFS has it. */
  async restore(instance: string, name: string): Promise<GuestStatus> {
    return this.#ledger.locks.run(instance, async () => {
      const { vmadm } = this.#parts;
      const { record, vm } = await this.#look(instance);
      if (!vm?.snapshots.some((each) => each.name === name)) {
        throw new CloudosError('SNAPSHOT_NOT_FOUND', `${instance} has no snapshot ${name}`);
      }
      if (statusOf(record, vm).state === 'running') await this.#end(record, 0);
      await vmadm.rollbackSnapshot(record.uuid, name);
      // It boots a zone whether it ran or not; this one is started with its next attempt.
      await vmadm.halt(record.uuid);
      return statusOf(this.#record(instance), await vmadm.get(record.uuid));
    });
  }

  async purge(): Promise<void> {
    const { records, runs } = this.#parts;
    const guests = new Map((await records.all()).map(({ spec, uuid }) => [spec.instance, uuid]));
    this.#parts.check();
    for (const { instance, uuid } of await runs.ours()) guests.set(instance, uuid);
    for (const [instance, uuid] of guests) {
      await this.#ledger.locks.run(instance, () => runs.dispose(instance, uuid));
    }
  }

  /** Looks whether the guest of that VM has ended. To be called when SmartOS says that something has happened to it. */
  async lookAt(uuid: string): Promise<void> {
    const record = (await this.#parts.records.all()).find((each) => each.uuid === uuid);
    if (record) await this.#ledger.look(record.spec.instance);
  }

  /** {@link lookAt} every VM: after nobody listened. */
  lookAtAll(): Promise<void> {
    return this.#ledger.lookAtAll();
  }

  close(): void {
    this.#ledger.close();
  }

  /** Ends a run, and tells of it. */
  async #end(record: VmRecord, graceMs: number): Promise<GuestExit | undefined> {
    const { vmadm, records } = this.#parts;
    const stopping = await records.save({ ...record, stopping: record.attempt });
    if (graceMs > 0) await vmadm.stop(record.uuid, Math.ceil(graceMs / 1_000));
    else await vmadm.halt(record.uuid);
    return (await this.#ledger.settle(stopping)).exit;
  }

  /** What is there of a guest, after everything that was left open is settled. */
  async #look(instance: string): Promise<{ record: VmRecord; vm: VmObject | undefined }> {
    const record = this.#record(instance);
    this.#parts.check();
    const vm = await this.#parts.vmadm.get(record.uuid);
    return { record: await this.#parts.runs.settleLaunch(record, vm), vm };
  }

  async #running(instance: string): Promise<{ record: VmRecord; vm: VmObject }> {
    const { record, vm } = await this.#look(instance);
    const { state } = statusOf(record, vm);
    if (state === 'running' && vm) return { record, vm };
    throw new CloudosError('GUEST_STATE', `${instance} is ${state}; this needs it to run`);
  }

  async #endOf(record: VmRecord): Promise<GuestExit | undefined> {
    const vm = await this.#parts.vmadm.get(record.uuid);
    return isRunning(vm) ? undefined : exitOf(record, vm);
  }

  #record(instance: string): VmRecord {
    const record = this.#parts.records.get(instance);
    if (record) return record;
    throw new CloudosError('GUEST_NOT_FOUND', `no zone called ${instance} is on this node`);
  }
}
