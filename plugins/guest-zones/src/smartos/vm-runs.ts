import { checkMounts, type GuestRecords } from '@cloudos/host-tools';
import { formatAddress, parseSubnet } from '@cloudos/node-network';
import { CloudosError, type GuestSpec, hasCode } from '@cloudos/sdk';
import type { SmartosConfig } from './smartos-config.ts';
import type { Vmadm, VmObject } from './vmadm.ts';
import { createPayload, imageUuidOf } from './vmadm-payload.ts';
import { isRunning, tags, uuidOf, type VmRecord } from './vmadm-record.ts';

/** What VMs of one node are made with. */
export interface VmEnvironment {
  readonly vmadm: Vmadm;
  readonly node: string;
  readonly config: SmartosConfig;
  readonly hostPaths: readonly string[];
  readonly logMaxBytes: number;
}

/** Makes, runs and removes VMs. Whoever calls holds the lock of the guest; each call may follow a crash in any other. */
export class VmRuns {
  readonly #records: GuestRecords<VmRecord>;
  readonly #environment: VmEnvironment;
  /** Addresses are taken one after the other. */
  #claims: Promise<unknown> = Promise.resolve();

  constructor(environment: VmEnvironment, records: GuestRecords<VmRecord>) {
    this.#environment = environment;
    this.#records = records;
  }

  /** Makes the VM of a guest, and its record. One that a crash has left without a record is made anew. */
  async make(spec: GuestSpec): Promise<VmRecord> {
    const { vmadm, node, config, hostPaths, logMaxBytes } = this.#environment;
    const mounts = await checkMounts(spec.template.mounts, hostPaths);
    const imageUuid = imageUuidOf(spec, config);
    const uuid = uuidOf(node, spec.instance);
    const before = await vmadm.get(uuid);
    if (before && !this.#isOurs(before)) {
      throw new CloudosError('NAME_TAKEN', `a zone of somebody else has the uuid ${uuid} of ${spec.instance}`);
    }
    if (before) await vmadm.delete(uuid);
    const image = await vmadm.image(imageUuid);
    const address = await this.#claim(spec.instance);
    const record: VmRecord = { version: 1, spec, uuid, attempt: 0, ...(address === undefined ? {} : { address }) };
    const payload = createPayload({ uuid, node, spec, image, mounts, address, config, logMaxBytes });
    // An address is taken by the record; what comes of the record alone is nothing.
    await this.#records.save(record);
    try {
      await vmadm.create(payload);
    } catch (error) {
      if (await vmadm.get(uuid).catch(() => undefined)) await vmadm.delete(uuid).catch(() => {});
      await this.#records.remove(spec.instance);
      throw error;
    }
    return record;
  }

  /** Starts an attempt. Resolves with the record of the run, which may have ended already. */
  async launch(record: VmRecord, attempt: number, vm: VmObject | undefined): Promise<VmRecord> {
    const { vmadm } = this.#environment;
    // A rollback boots what did not run; a crash may have kept it from being halted.
    if (isRunning(vm)) await vmadm.halt(record.uuid);
    const { exit: _exit, stopping: _stopping, ...kept } = record;
    const launching = { attempt, endBefore: vm?.exit_timestamp ?? null };
    await this.#records.save({ ...record, launching });
    try {
      await vmadm.start(record.uuid);
    } catch (error) {
      await this.#records.save(record);
      if (!hasCode(error, 'HOST_COMMAND_FAILED')) throw error;
      throw new CloudosError('GUEST_START_FAILED', (error as Error).message, { cause: error });
    }
    const { launching: _begun, ...begun } = kept;
    return this.#records.save({ ...begun, attempt });
  }

  /** Makes up its mind about a start that was cut off: it counts when the zone runs, or has ended since. */
  async settleLaunch(record: VmRecord, vm: VmObject | undefined): Promise<VmRecord> {
    const { launching, ...rest } = record;
    if (!launching) return record;
    const came = isRunning(vm) || (vm?.exit_timestamp ?? null) !== launching.endBefore;
    if (!came) return this.#records.save(rest);
    const { exit: _exit, stopping: _stopping, ...begun } = rest;
    return this.#records.save({ ...begun, attempt: launching.attempt });
  }

  /** Removes the VM and the record, whatever there is of them. */
  async dispose(instance: string, uuid: string): Promise<void> {
    const { vmadm } = this.#environment;
    const vm = await vmadm.get(uuid);
    if (vm && this.#isOurs(vm)) await vmadm.delete(uuid);
    await this.#records.remove(instance);
  }

  /** VMs that carry the tag of this node, with a record or without. */
  async ours(): Promise<{ instance: string; uuid: string }[]> {
    const all = await this.#environment.vmadm.all();
    return all
      .filter((vm) => this.#isOurs(vm))
      .map(({ uuid, tags: own }) => ({ uuid, instance: String(own[tags.instance]) }));
  }

  #isOurs(vm: VmObject): boolean {
    return vm.tags[tags.node] === this.#environment.node && vm.tags[tags.instance] !== undefined;
  }

  /** The lowest free address of the subnet, that of the gateway and the first and last excepted. */
  async #claim(instance: string): Promise<string | undefined> {
    const { network } = this.#environment.config;
    if (!network) return undefined;
    const claim = this.#claims.then(async () => {
      const { first, prefix } = parseSubnet(network.subnet);
      const taken = new Set((await this.#records.all()).map(({ address }) => address));
      for (let at = first + 1; at < first + 2 ** (32 - prefix) - 1; at++) {
        const address = formatAddress(at);
        if (address !== network.gateway && !taken.has(address)) return address;
      }
      throw new CloudosError('ADDRESSES_EXHAUSTED', `${instance}: no address of ${network.subnet} is free`);
    });
    this.#claims = claim.catch(() => {});
    return claim;
  }
}
