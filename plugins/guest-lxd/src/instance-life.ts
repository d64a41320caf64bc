import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digest, type GuestRecords, guestName, resolveEnvironment } from '@cloudos/host-tools';
import { commandLine, type OciImage } from '@cloudos/images';
import type { NodeNetwork } from '@cloudos/node-network';
import { CloudosError, type GuestSpec, messageOf } from '@cloudos/sdk';
import type { GuestFiles } from './guest-files.ts';
import type { GuestMounts, GuestUsers } from './guest-mounts.ts';
import type { GuestRecord } from './guest-record.ts';
import { checkMachine, type InstanceParts, instanceParts, keys } from './instance-config.ts';
import { type Instance, type InstanceState, isRunning } from './instance-view.ts';
import { type LxdClient, statusOfError } from './lxd-client.ts';
import type { LxdImages } from './lxd-images.ts';
import type { StoragePool } from './storage-pool.ts';

/** What the driver works with while the daemon is there. */
export interface LxdEnvironment {
  readonly client: LxdClient;
  readonly images: LxdImages;
  readonly files: GuestFiles;
  readonly mounts: GuestMounts;
  /** Absent: guests have loopback alone. */
  readonly network: NodeNetwork | undefined;
  /** Value of the configuration key that tells our instances from others. */
  readonly owner: string;
  readonly stateDir: string;
  readonly pool: StoragePool;
  readonly profiles: readonly string[];
}

/** How long a program may take to be started once its container runs. */
const beginMaxMs = 30_000;
const stepMs = 2;
/** How long an instance may take to be cleared away once its first process is gone. */
const endingMaxMs = 30_000;
const endingStepMs = 20;
const allUsers = 2 ** 32 - 1;

/** Makes, starts and removes the instances of guests. Whoever calls holds the lock of the guest. */
export class InstanceLife {
  readonly #records: GuestRecords<GuestRecord>;

  constructor(records: GuestRecords<GuestRecord>) {
    this.#records = records;
  }

  /** Makes the instance of a new guest. A failure leaves nothing behind. */
  async make(environment: LxdEnvironment, spec: GuestSpec): Promise<GuestRecord> {
    return this.#made(environment, spec, true, async (parts, record, image) => {
      await environment.images.use(image, (fingerprint) =>
        environment.client.change('POST', '/1.0/instances', {
          name: record.name,
          type: 'container',
          source: { type: 'image', fingerprint },
          ...parts,
        }),
      );
    });
  }

  /** Makes the instance of a new guest from a backup of the daemon. A failure leaves nothing behind. */
  async makeFrom(
    environment: LxdEnvironment,
    spec: GuestSpec,
    bring: (record: GuestRecord, parts: InstanceParts) => Promise<void>,
  ): Promise<GuestRecord> {
    return this.#made(environment, spec, false, (parts, record) => bring(record, parts));
  }

  async #made(
    environment: LxdEnvironment,
    spec: GuestSpec,
    isNew: boolean,
    make: (parts: InstanceParts, record: GuestRecord, image: OciImage) => Promise<void>,
  ): Promise<GuestRecord> {
    const { client, images, files, mounts, owner, pool } = environment;
    await pool.check(spec);
    const paths = await mounts.check(spec);
    const name = nameOf(owner, spec.instance);
    await this.#refuseTaken(environment, name);
    const image = await images.hold(spec);
    try {
      const address = await environment.network?.claim(addressOwner(spec.instance));
      const record = recordOf(spec, name, image, address);
      await files.make(spec.instance);
      await mounts.prepare(spec, paths);
      const parts = await partsOf(environment, record);
      // What a program is begun with is readied while the daemon makes its root.
      await bothDone(make(parts, record, image), record.program && files.makePipes(spec.instance));
      const { diskBytes } = spec.template.limits;
      if (diskBytes > 0) await pool.limit(name, diskBytes, isNew, () => images.rootBytes(image.digest));
      return await this.#records.save(record);
    } catch (error) {
      await client.change('DELETE', `/1.0/instances/${name}`).catch(() => {});
      await this.#forget(environment, spec.instance, image.digest);
      throw error;
    }
  }

  /** Something of that name is there: ours, which a crash has left, or somebody else's. */
  async #refuseTaken({ client, owner }: LxdEnvironment, name: string): Promise<void> {
    const found = await client.find<Instance>(`/1.0/instances/${name}`);
    if (!found) return;
    if (found.config[keys.owner] !== owner) {
      throw new CloudosError('NAME_TAKEN', `the daemon has an instance ${name} that is not ours`, {
        remedy: `lxc delete ${name}`,
      });
    }
    await this.#delete(client, name);
  }

  /**
   * Runs it with that attempt, and tells what the daemon says of it then.
   * @throws CloudosError COMMAND_NOT_FOUND, GUEST_START_FAILED
   */
  async launch(
    environment: LxdEnvironment,
    record: GuestRecord,
    attempt: number,
  ): Promise<{ record: GuestRecord; state: InstanceState | undefined }> {
    const { client, files, mounts, stateDir } = environment;
    const { instance, template } = record.spec;
    const { exit: _exit, stopping: _stopping, ...kept } = record;
    const runs = { ...kept, attempt };
    const found = await client.get<Instance>(`/1.0/instances/${record.name}`);
    // What a driver has started and not lived to write down is started anew: nobody was told that it runs.
    if (isRunning(found)) await this.kill(environment, record);
    const users = usersOf(found);
    if (record.program) {
      const secrets = template.env.filter((variable) => 'secret' in variable);
      const owner = users.base + (template.user ?? 0);
      await files.prepareRun(record, attempt, owner, await resolveEnvironment(stateDir, secrets));
    }
    await mounts.mount(record.spec, users);
    await environment.network?.ensure();
    // A cable that is left of a run whose end the daemon did not see is in the way of the next.
    await environment.network?.unplug(environment.network.linkName(addressOwner(instance)));
    try {
      // A program waits for the reader of its output, and so may start with it.
      await bothDone(this.#start(client, record.name), record.program && files.repair(instance));
      if (record.program) await files.release(instance);
      const [state] = await Promise.all([this.state(environment, record), record.program && this.#begun(files, runs)]);
      await files.begun(instance);
      return { record: await this.#records.save(runs), state };
    } catch (error) {
      if (files.end(instance)?.attempt === attempt) await this.#gone(environment, record);
      else await this.kill(environment, record);
      await files.begun(instance);
      throw startError(error, instance);
    }
  }

  async #start(client: LxdClient, name: string): Promise<void> {
    await client.change('PUT', `/1.0/instances/${name}/state`, { action: 'start', timeout: -1, force: false });
  }

  async #begun(files: GuestFiles, { spec, attempt }: GuestRecord): Promise<void> {
    const deadline = Date.now() + beginMaxMs;
    for (;;) {
      const end = files.end(spec.instance);
      if (end?.attempt === attempt && end.commandLacking) {
        throw new CloudosError('COMMAND_NOT_FOUND', `${spec.instance}: the command does not exist in the image`);
      }
      if (files.hasBegun(spec.instance) || end?.attempt === attempt) return;
      if (Date.now() > deadline) {
        throw new CloudosError('GUEST_START_FAILED', `${spec.instance}: its program was not begun in ${beginMaxMs} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
  }

  /** Undefined: there is no such instance. */
  async state({ client }: LxdEnvironment, { name }: Pick<GuestRecord, 'name'>): Promise<InstanceState | undefined> {
    const deadline = Date.now() + endingMaxMs;
    for (;;) {
      try {
        return await client.find<InstanceState>(`/1.0/instances/${name}/state`);
      } catch (error) {
        // Incus cannot tell the state of an instance whose first process is gone and which it has yet to clear away.
        if (!/Invalid PID/.test(messageOf(error)) || Date.now() > deadline) throw error;
      }
      const found = await client.find<Instance>(`/1.0/instances/${name}`);
      if (!found || !isRunning(found)) return found && { status: found.status, pid: 0, processes: 0 };
      await new Promise((resolve) => setTimeout(resolve, endingStepMs));
    }
  }

  /**
   * Waits for an instance whose first process has come to its end. A stop that meets this end leaves LXD busy with it for
   * long, so it is asked for only when the end is not seen.
   */
  async #gone(environment: LxdEnvironment, record: GuestRecord): Promise<void> {
    const deadline = Date.now() + endingMaxMs;
    while (isRunning(await environment.client.find<Instance>(`/1.0/instances/${record.name}`))) {
      if (Date.now() > deadline) return this.kill(environment, record);
      await new Promise((resolve) => setTimeout(resolve, endingStepMs));
    }
  }

  /** Ends it at once. */
  async kill({ client }: LxdEnvironment, { name }: Pick<GuestRecord, 'name'>): Promise<void> {
    await stopNow(client, name);
  }

  /** Leaves nothing of the guest at the daemon, on the node and in the records. */
  async dispose(environment: LxdEnvironment, record: GuestRecord): Promise<void> {
    await this.#delete(environment.client, record.name);
    await this.#forget(environment, record.spec.instance, record.digest);
  }

  async #forget({ files, mounts, network, images }: LxdEnvironment, instance: string, digest_: string): Promise<void> {
    await mounts.remove(instance);
    await files.remove(instance);
    const claims = await network?.claims();
    for (const [address, owner] of claims ?? []) {
      if (owner === addressOwner(instance)) await network?.release(owner, address);
    }
    await this.#records.remove(instance);
    await images.release(instance, digest_);
  }

  async #delete(client: LxdClient, name: string): Promise<void> {
    const found = await client.find<Instance>(`/1.0/instances/${name}`);
    if (!found) return;
    if (isRunning(found)) await stopNow(client, name);
    await client.change('DELETE', `/1.0/instances/${name}`).catch((error: unknown) => {
      if (statusOfError(error) !== 404) throw error;
    });
    await removeRemains(client, name);
  }
}

/** What an own daemon keeps of an instance that is gone: LXD its logs for days, Incus a directory of its runs for good. */
export async function removeRemains(client: LxdClient, name: string): Promise<void> {
  for (const kind of ['logs', 'run']) await rm(join(client.directory, kind, name), { recursive: true, force: true });
}

/** Who the users of the guest are on the node. */
function usersOf({ config }: Instance): GuestUsers {
  const map = JSON.parse(config['volatile.idmap.next'] || '[]') as {
    Isuid: boolean;
    Hostid: number;
    Nsid: number;
    Maprange: number;
  }[];
  const users = map.find(({ Isuid: isUser, Nsid: inside }) => isUser && inside === 0);
  return users ? { base: users.Hostid, count: users.Maprange } : { base: 0, count: allUsers };
}

/** Fails with the first that has failed, and not before both have come to an end. */
async function bothDone(...calls: (Promise<unknown> | undefined)[]): Promise<void> {
  for (const outcome of await Promise.allSettled(calls)) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

async function stopNow(client: LxdClient, name: string): Promise<void> {
  try {
    await client.change('PUT', `/1.0/instances/${name}/state`, { action: 'stop', timeout: -1, force: true });
  } catch (error) {
    const state = await client.find<InstanceState>(`/1.0/instances/${name}/state`);
    if (isRunning(state)) throw error;
  }
}

/** Name of an instance: at most 63 letters, digits and dashes, beginning with a letter. */
export function nameOf(owner: string, instance: string): string {
  return `c${digest(owner, 6)}-${guestName(instance)}`.slice(0, 63);
}

/** How the node's network knows the guest. */
export function addressOwner(instance: string): string {
  return `lxd ${guestName(instance)}`;
}

function recordOf(spec: GuestSpec, name: string, image: OciImage, address: string | undefined): GuestRecord {
  const command = commandLine(spec.template, image.program);
  const { env, workingDir } = image.program;
  if (command.length === 0) checkMachine(spec);
  return {
    version: 1,
    spec,
    name,
    digest: image.digest,
    ...(command.length > 0 && { program: { command, env, workingDir: spec.template.workingDir ?? workingDir } }),
    attempt: 0,
    ...(address === undefined ? {} : { address }),
  };
}

async function partsOf(environment: LxdEnvironment, record: GuestRecord): Promise<InstanceParts> {
  const { files, mounts, network, owner, pool, profiles } = environment;
  const { instance } = record.spec;
  const bridge = await network?.ensure();
  return instanceParts({
    record,
    owner,
    pool: pool.name,
    profiles,
    init: record.program ? await files.initCommand() : undefined,
    mounts: mounts.devices(record.spec),
    directories: { tools: files.tools, own: files.own(instance) },
    network:
      network && bridge && record.address !== undefined
        ? { bridge, address: record.address, link: network.linkName(addressOwner(instance)) }
        : undefined,
  });
}

function startError(error: unknown, instance: string): unknown {
  const { code, message } = error as Partial<CloudosError>;
  if (code !== 'HOST_COMMAND_FAILED') return error;
  return new CloudosError('GUEST_START_FAILED', `${instance}: ${message}`, { cause: error });
}
