import { digest, type GuestRecords, guestName, resolveEnvironment } from '@cloudos/host-tools';
import { commandLine, type OciImage } from '@cloudos/images';
import type { NodeNetwork } from '@cloudos/node-network';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';
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
const stepMs = 5;
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
      const fingerprint = await environment.images.provide(image);
      await environment.client.change('POST', '/1.0/instances', {
        name: record.name,
        type: 'container',
        source: { type: 'image', fingerprint },
        ...parts,
      });
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
      await make(await partsOf(environment, record), record, image);
      const { diskBytes } = spec.template.limits;
      if (diskBytes > 0) await pool.limit(name, diskBytes, isNew, () => images.rootBytes(image));
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

  /** Runs it with that attempt. @throws CloudosError COMMAND_NOT_FOUND, GUEST_START_FAILED */
  async launch(environment: LxdEnvironment, record: GuestRecord, attempt: number): Promise<GuestRecord> {
    const { client, files, mounts, stateDir } = environment;
    const { instance, template } = record.spec;
    const { exit: _exit, stopping: _stopping, ...kept } = record;
    const runs = { ...kept, attempt };
    if (record.program) {
      const secrets = template.env.filter((variable) => 'secret' in variable);
      const owner = (await this.#usersOf(environment, record)).base + (template.user ?? 0);
      await files.prepareRun(record, attempt, owner, await resolveEnvironment(stateDir, secrets));
    }
    await mounts.mount(record.spec, () => this.#usersOf(environment, record));
    await environment.network?.ensure();
    // A cable that is left of a run whose end the daemon did not see is in the way of the next.
    await environment.network?.unplug(environment.network.linkName(addressOwner(instance)));
    try {
      await this.#start(client, record.name);
      if (record.program) await this.#begun(environment, runs);
    } catch (error) {
      await this.kill(environment, record);
      await files.begun(instance);
      throw startError(error, instance);
    }
    await files.begun(instance);
    return this.#records.save(runs);
  }

  async #start(client: LxdClient, name: string): Promise<void> {
    await client.change('PUT', `/1.0/instances/${name}/state`, { action: 'start', timeout: -1, force: false });
  }

  async #begun({ files }: LxdEnvironment, { spec, attempt }: GuestRecord): Promise<void> {
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

  /** Who the users of the guest are on the node. */
  async #usersOf({ client }: LxdEnvironment, { name }: GuestRecord): Promise<GuestUsers> {
    const { config } = await client.get<Instance>(`/1.0/instances/${name}`);
    const map = JSON.parse(config['volatile.idmap.next'] || '[]') as {
      Isuid: boolean;
      Hostid: number;
      Nsid: number;
      Maprange: number;
    }[];
    const users = map.find(({ Isuid: isUser, Nsid: inside }) => isUser && inside === 0);
    return users ? { base: users.Hostid, count: users.Maprange } : { base: 0, count: allUsers };
  }

  state({ client }: LxdEnvironment, { name }: Pick<GuestRecord, 'name'>): Promise<InstanceState | undefined> {
    return client.find<InstanceState>(`/1.0/instances/${name}/state`);
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
