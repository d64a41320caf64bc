import { checkMounts, ExitLedger, type GuestRecords } from '@cloudos/host-tools';
import {
  CloudosError,
  type ExecRequest,
  type ExecSession,
  type GuestDriver,
  type GuestExit,
  type GuestFingerprint,
  type GuestLimits,
  type GuestSpec,
  type GuestStats,
  type GuestStatus,
  type LogRequest,
  type OutputChunk,
  refuseContainers,
  refuseOptions,
} from '@cloudos/sdk';
import type { Container } from 'dockerode';
import type { Observable } from 'rxjs';
import { execInContainer } from './container-exec.ts';
import { readLogs } from './container-logs.ts';
import { checkSpec } from './container-options.ts';
import { resizeContainer, resizedSpec } from './container-resize.ts';
import { ContainerRuns, type DockerEnvironment } from './container-runs.ts';
import { usageOf } from './container-usage.ts';
import { exitOf, instanceOfHandle, isRunning, labels, statusOf } from './container-view.ts';
import { engineError, unlessAbsent } from './engine.ts';
import type { GuestRecord } from './guest-record.ts';

/** How long a killed container may take to be gone. */
const killedMaxMs = 10_000;

/** Containers of a Docker Engine. What is known of a guest is in its record and its container; this object holds none of it. */
export class DockerDriver implements GuestDriver {
  readonly exits: Observable<GuestExit>;
  readonly #ledger: ExitLedger<GuestRecord>;
  readonly #fingerprints: Observable<GuestFingerprint>;
  readonly #environment: () => Promise<DockerEnvironment>;
  readonly #records: GuestRecords<GuestRecord>;
  readonly #purged: (leave: () => Promise<void> | undefined) => Promise<void>;
  readonly #runs: ContainerRuns;

  constructor(parts: {
    fingerprints: Observable<GuestFingerprint>;
    /** @throws CloudosError RUNTIME_UNAVAILABLE */
    environment: () => Promise<DockerEnvironment>;
    records: GuestRecords<GuestRecord>;
    /**
     * Called when no guest is left, to remove what was made for all of them.
     * @param leave takes away what is left at an engine that stays
     */
    purged: (leave: () => Promise<void> | undefined) => Promise<void>;
  }) {
    this.#fingerprints = parts.fingerprints;
    this.#environment = parts.environment;
    this.#records = parts.records;
    this.#runs = new ContainerRuns(parts.records);
    this.#ledger = new ExitLedger(parts.records, (record) => this.#endOf(record));
    this.exits = this.#ledger.exits;
    this.#purged = parts.purged;
  }

  fingerprint(): Observable<GuestFingerprint> {
    return this.#fingerprints;
  }

  async create(spec: GuestSpec): Promise<GuestStatus> {
    refuseContainers(spec, 'docker');
    refuseOptions(spec, 'docker');
    checkSpec(spec);
    const environment = await this.#environment();
    return this.#ledger.locks.run(spec.instance, async () => {
      const before = this.#records.get(spec.instance);
      if (before) return this.#status(environment, before);
      environment.disk.check(spec, environment.facts);
      await checkMounts(spec.template.mounts, environment.hostPaths);
      const image = await environment.images.provide(spec);
      return statusOf(await this.#records.save({ version: 1, spec, ...image, attempt: 0 }), undefined);
    });
  }

  async start(instance: string, attempt: number): Promise<GuestStatus> {
    const environment = await this.#environment();
    return this.#ledger.locks.run(instance, async () => {
      const record = this.#record(instance);
      const current = await this.#status(environment, await this.#ledger.settle(record));
      if (current.state !== 'created') {
        if (attempt === current.attempt) return current;
        if (current.state !== 'exited' || attempt < current.attempt) {
          throw new CloudosError(
            'GUEST_STATE',
            `${instance}: attempt ${attempt} was asked for, attempt ${current.attempt} is ${current.state}`,
          );
        }
      }
      return this.#status(environment, await this.#runs.launch(environment, record, attempt));
    });
  }

  async stop(instance: string, graceMs: number): Promise<GuestExit | undefined> {
    const environment = await this.#environment();
    const record = await this.#ledger.locks.run(instance, async () => {
      const found = await this.#ledger.settle(this.#record(instance));
      const { state } = await this.#status(environment, found);
      if (found.container === undefined || (state !== 'running' && state !== 'paused')) return undefined;
      const stopping = await this.#records.save({ ...found, stopping: found.container });
      await this.#runs.signal(environment, found.container, graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
      // A frozen process takes no signal but when it goes on.
      if (state === 'paused') await this.#runs.unpause(environment, found.container);
      return stopping;
    });
    if (record?.container === undefined) return undefined;
    const polite = await this.#ledger.ended(instance, record.attempt, graceMs);
    if (polite) return polite;
    await this.#runs.signal(environment, record.container, 'SIGKILL');
    const killed = await this.#ledger.ended(instance, record.attempt, killedMaxMs);
    if (killed) return killed;
    this.#record(instance); // not there any more where it was removed meanwhile
    throw new CloudosError('GUEST_UNRESPONSIVE', `${instance} is not gone ${killedMaxMs} ms after it was killed`);
  }

  async remove(instance: string): Promise<void> {
    if (!this.#records.get(instance)) return;
    const environment = await this.#environment();
    await this.#ledger.locks.run(instance, () => this.#runs.dispose(environment, instance));
  }

  async list(): Promise<readonly GuestStatus[]> {
    const records = await this.#records.all();
    if (records.length === 0) return [];
    const environment = await this.#environment();
    return Promise.all(records.map((record) => this.#status(environment, record)));
  }

  async adopt(handle: unknown): Promise<GuestStatus> {
    const environment = await this.#environment();
    const instance = instanceOfHandle(handle);
    const record = instance === undefined ? undefined : this.#records.get(instance);
    if (record) return this.#status(environment, record);
    throw new CloudosError('GUEST_NOT_FOUND', `no container of this node has the handle ${JSON.stringify(handle)}`);
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const environment = await this.#environment();
    return execInContainer(await this.#running(environment, instance), request);
  }

  async *logs(instance: string, request: LogRequest): AsyncGenerator<OutputChunk> {
    const environment = await this.#environment();
    const { container } = this.#record(instance);
    if (container === undefined) return;
    yield* readLogs(environment.docker.getContainer(container), request);
  }

  async stats(instance: string): Promise<GuestStats> {
    const environment = await this.#environment();
    return usageOf(await this.#running(environment, instance, true));
  }

  async pause(instance: string): Promise<void> {
    const environment = await this.#environment();
    await this.#ledger.locks.run(instance, async () => {
      const container = await this.#running(environment, instance, true);
      if ((await container.inspect()).State.Paused) return;
      await container.pause().catch((error: unknown) => Promise.reject(engineError(error, `pausing ${instance}`)));
    });
  }

  async resume(instance: string): Promise<void> {
    const environment = await this.#environment();
    await this.#ledger.locks.run(instance, async () => {
      const container = await this.#running(environment, instance, true);
      await this.#runs.unpause(environment, container.id);
    });
  }

  async resize(instance: string, limits: GuestLimits): Promise<GuestStatus> {
    const environment = await this.#environment();
    return this.#ledger.locks.run(instance, async () => {
      const record = await this.#ledger.settle(this.#record(instance));
      const spec = resizedSpec(record.spec, limits);
      const { container: id } = record;
      if (id !== undefined) await resizeContainer(environment.docker.getContainer(id), spec);
      return this.#status(environment, await this.#records.save({ ...record, spec }));
    });
  }

  async purge(): Promise<void> {
    const environment = await this.#environment();
    const instances = new Set((await this.#records.all()).map(({ spec }) => spec.instance));
    for (const { Labels: found } of await this.#runs.containers(environment)) {
      const instance = found[labels.instance];
      if (instance !== undefined) instances.add(instance);
    }
    await Promise.all(
      [...instances].map((each) => this.#ledger.locks.run(each, () => this.#runs.dispose(environment, each))),
    );
    await environment.images.removeAll();
    await this.#purged(() => environment.network?.engine.remove());
    await environment.network?.node.remove();
  }

  /** Looks whether the guest has ended. To be called when the engine says so. */
  look(instance: string): Promise<void> {
    return this.#ledger.look(instance);
  }

  /** {@link look} at every guest: after the engine was away. */
  lookAtAll(): Promise<void> {
    return this.#ledger.lookAtAll();
  }

  close(): void {
    this.#ledger.close();
  }

  /** What the guest does now. */
  async #status(environment: DockerEnvironment, record: GuestRecord): Promise<GuestStatus> {
    return statusOf(record, await this.#inspect(environment, record));
  }

  async #endOf(record: GuestRecord): Promise<GuestExit | undefined> {
    const container = await this.#inspect(await this.#environment(), record);
    return isRunning(container) ? undefined : exitOf(record, container);
  }

  #inspect({ docker }: DockerEnvironment, { container: id, spec }: GuestRecord) {
    if (id === undefined) return undefined;
    return unlessAbsent(`container of ${spec.instance}`, () => docker.getContainer(id).inspect());
  }

  async #running(environment: DockerEnvironment, instance: string, orPaused = false): Promise<Container> {
    const record = this.#record(instance);
    const { state } = await this.#status(environment, record);
    if (record.container === undefined || (state !== 'running' && !(orPaused && state === 'paused'))) {
      throw new CloudosError('GUEST_STATE', `${instance} is ${state}; this needs it to run`);
    }
    return environment.docker.getContainer(record.container);
  }

  #record(instance: string): GuestRecord {
    const record = this.#records.get(instance);
    if (record) return record;
    throw new CloudosError('GUEST_NOT_FOUND', `no container called ${instance} is on this node`);
  }
}
