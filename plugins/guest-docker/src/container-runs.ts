import { checkMounts, type GuestRecords, guestName, resolveEnvironment } from '@cloudos/host-tools';
import type { NodeNetwork } from '@cloudos/node-network';
import { CloudosError } from '@cloudos/sdk';
import type Docker from 'dockerode';
import type { Container } from 'dockerode';
import { checkCommand } from './container-command.ts';
import { containerOptions } from './container-options.ts';
import { labels } from './container-view.ts';
import type { DiskLimit } from './disk-limit.ts';
import { type EngineFacts, engineError, isAbsent, unlessAbsent } from './engine.ts';
import type { EngineImages } from './engine-images.ts';
import type { EngineNetwork } from './engine-network.ts';
import type { GuestRecord } from './guest-record.ts';

/** What the driver works with while the engine is there. */
export interface DockerEnvironment {
  readonly docker: Docker;
  readonly facts: EngineFacts;
  readonly disk: DiskLimit;
  readonly images: EngineImages;
  /** Absent: guests have loopback alone. */
  readonly network: { readonly node: NodeNetwork; readonly engine: EngineNetwork } | undefined;
  /** Value of the label that tells our containers from others. */
  readonly owner: string;
  readonly stateDir: string;
  readonly hostPaths: readonly string[];
  readonly logMaxBytes: number;
}

/** The containers that guests run in, one for each run. Whoever calls holds the lock of the guest. */
export class ContainerRuns {
  readonly #records: GuestRecords<GuestRecord>;

  constructor(records: GuestRecords<GuestRecord>) {
    this.#records = records;
  }

  /**
   * A new container for each run, so that no run finds what an earlier one has written. The record changes when the new
   * one runs: after a crash in between, what the record does not know of is removed with the next launch.
   */
  async launch(environment: DockerEnvironment, record: GuestRecord, attempt: number): Promise<GuestRecord> {
    const { spec } = record;
    const { owner, network, disk, facts } = environment;
    const { template, instance } = spec;
    const begun = await this.#begun(environment, record, attempt);
    if (begun) return begun;
    await this.#removeOthers(environment, instance, record.container);
    disk.check(spec, facts);
    const rootBytes = await disk.rootBytes(spec, record.image, facts);
    const mounts = await checkMounts(template.mounts, environment.hostPaths);
    const env = await resolveEnvironment(environment.stateDir, template.env);
    if (network) await network.engine.ensure(await network.node.ensure());
    const address = await network?.node.claim(addressOwner(instance), record.address);
    const plan = {
      spec,
      owner,
      attempt,
      image: record.image,
      env,
      mounts,
      network: network && address !== undefined ? { name: network.engine.name, address } : undefined,
      logMaxBytes: environment.logMaxBytes,
      rootBytes,
    };
    const name = `cloudos-${guestName(`${owner} ${instance}`)}-${attempt}`;
    const container = await this.#create(environment, name, containerOptions(plan));
    try {
      // Written down first: a container that runs is never one that nobody knows of.
      await this.#records.save({ ...record, ...(address === undefined ? {} : { address }) });
      await disk.apply(spec, container.id);
      await checkCommand(container, spec.template.command?.[0], env);
      await container.start();
    } catch (error) {
      await container.remove({ force: true, v: true }).catch(() => {});
      throw startError(error, instance);
    }
    const { exit: _exit, stopping: _stopping, ...kept } = record;
    const runs = { ...kept, attempt, container: container.id, ...(address === undefined ? {} : { address }) };
    const launched = await this.#records.save(runs);
    await this.#removeOthers(environment, instance, container.id);
    return launched;
  }

  /** A run of that attempt which a driver began and died before it could write that down. */
  async #begun(environment: DockerEnvironment, record: GuestRecord, attempt: number): Promise<GuestRecord | undefined> {
    for (const found of await this.containers(environment, record.spec.instance)) {
      if (found.Labels[labels.attempt] !== String(attempt) || found.State === 'created') continue;
      const { exit: _exit, stopping: _stopping, ...kept } = record;
      return this.#records.save({ ...kept, attempt, container: found.Id });
    }
    return undefined;
  }

  async #create({ docker }: DockerEnvironment, name: string, options: object): Promise<Container> {
    try {
      return await docker.createContainer({ name, ...options });
    } catch (error) {
      const { statusCode } = error as { statusCode?: number };
      if (statusCode === 409) {
        throw new CloudosError('NAME_TAKEN', `the engine has a container ${name} that is not ours`, {
          cause: error,
          remedy: `docker rm -f ${name}`,
        });
      }
      if (isAbsent(error)) throw new CloudosError('IMAGE_NOT_FOUND', `${name}: ${String(error)}`, { cause: error });
      throw engineError(error, `creating ${name}`);
    }
  }

  /** Every container of ours, of one guest or of all. */
  containers({ docker, owner }: DockerEnvironment, instance?: string) {
    const label = [`${labels.owner}=${owner}`, ...(instance === undefined ? [] : [`${labels.instance}=${instance}`])];
    return docker
      .listContainers({ all: true, filters: { label } })
      .catch((error: unknown) => Promise.reject(engineError(error, 'listing containers')));
  }

  async #removeOthers(environment: DockerEnvironment, instance: string, kept: string | undefined): Promise<void> {
    for (const { Id: id } of await this.containers(environment, instance)) {
      if (id === kept) continue;
      const container = environment.docker.getContainer(id);
      await unlessAbsent(`removing ${instance}`, () => container.remove({ force: true, v: true }));
    }
  }

  /** Leaves nothing of the guest at the engine, on the network and in the records. */
  async dispose(environment: DockerEnvironment, instance: string): Promise<void> {
    const record = this.#records.get(instance);
    await this.#removeOthers(environment, instance, undefined);
    await environment.network?.node.release(addressOwner(instance), record?.address);
    await this.#records.remove(instance);
    await environment.images.release(instance, record?.digest);
  }

  /** Sends a signal; one that has ended meanwhile is fine. */
  async signal({ docker }: DockerEnvironment, id: string, signal: NodeJS.Signals): Promise<void> {
    try {
      await docker.getContainer(id).kill({ signal });
    } catch (error) {
      const { statusCode } = error as { statusCode?: number };
      // It has ended meanwhile.
      if (statusCode !== 404 && statusCode !== 409) throw engineError(error, `sending ${signal} to ${id}`);
    }
  }

  /** Lets a paused container go on. */
  async unpause({ docker }: DockerEnvironment, id: string): Promise<void> {
    const container = docker.getContainer(id);
    if (!(await container.inspect()).State.Paused) return;
    try {
      await container.unpause();
    } catch (error) {
      // A signal that was waiting for it may have ended it first, or another call was faster.
      const { State: now } = (await unlessAbsent(`resuming ${id}`, () => container.inspect())) ?? {};
      if (now?.Running && now.Paused) throw engineError(error, `resuming ${id}`);
    }
  }
}

/** How the node's network knows the guest. */
function addressOwner(instance: string): string {
  return `docker ${guestName(instance)}`;
}

/** What the engine says when a program cannot be run, in terms of the guest. */
function startError(error: unknown, instance: string): CloudosError {
  const text = String(error);
  if (/executable file not found|exec: .*no such file or directory|stat .*: no such file or directory/i.test(text)) {
    return new CloudosError('COMMAND_NOT_FOUND', `${instance}: the command does not exist in the image`, {
      cause: error,
    });
  }
  const known = engineError(error, `starting ${instance}`);
  return known.code === 'HOST_COMMAND_FAILED'
    ? new CloudosError('GUEST_START_FAILED', known.message, { cause: error })
    : known;
}
