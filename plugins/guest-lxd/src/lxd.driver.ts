import { ExitLedger, type GuestRecords, readLogFiles } from '@cloudos/host-tools';
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
  refuseContainers,
  refuseOptions,
  Semaphore,
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { readConsole } from './console-log.ts';
import type { GuestRecord } from './guest-record.ts';
import { checkSpec, environmentOf, keys } from './instance-config.ts';
import { InstanceLife, type LxdEnvironment } from './instance-life.ts';
import { changeLimits } from './instance-limits.ts';
import {
  exitOf,
  type Instance,
  type InstanceState,
  instanceOfHandle,
  isRunning,
  statusOf,
  usageOf,
} from './instance-view.ts';
import { execInInstance } from './lxd-exec.ts';
import { assertSnapshot, exportSnapshot, importSnapshot, restoreSnapshot, takeSnapshot } from './lxd-snapshots.ts';

/** How long a killed container may take to be gone. */
const killedMaxMs = 30_000;
/** Commands that are begun at once: the daemon waits 5 s for the WebSockets of each. */
const beginningMax = 8;

/** System containers of an LXD or Incus daemon. What is known of a guest is in its record, its files and its instance. */
export class LxdDriver implements GuestDriver {
  readonly exits: Observable<GuestExit>;
  readonly #fingerprints: Observable<GuestFingerprint>;
  readonly #environment: () => Promise<LxdEnvironment>;
  readonly #records: GuestRecords<GuestRecord>;
  readonly #purged: () => Promise<void>;
  readonly #life: InstanceLife;
  readonly #ledger: ExitLedger<GuestRecord>;
  readonly #beginnings = new Semaphore(beginningMax);

  constructor(parts: {
    fingerprints: Observable<GuestFingerprint>;
    /** @throws CloudosError RUNTIME_UNAVAILABLE */
    environment: () => Promise<LxdEnvironment>;
    records: GuestRecords<GuestRecord>;
    /** Called when no guest is left, to remove what was made for all of them. */
    purged: () => Promise<void>;
  }) {
    this.#fingerprints = parts.fingerprints;
    this.#environment = parts.environment;
    this.#records = parts.records;
    this.#purged = parts.purged;
    this.#life = new InstanceLife(parts.records);
    this.#ledger = new ExitLedger(parts.records, (record) => this.#endOf(record));
    this.exits = this.#ledger.exits;
  }

  fingerprint(): Observable<GuestFingerprint> {
    return this.#fingerprints;
  }

  async create(spec: GuestSpec): Promise<GuestStatus> {
    refuseContainers(spec, 'lxd');
    refuseOptions(spec, 'lxd');
    checkSpec(spec);
    const environment = await this.#environment();
    return this.#ledger.locks.run(spec.instance, async () => {
      const before = this.#records.get(spec.instance);
      if (before) return this.#status(environment, before);
      return this.#status(environment, await this.#life.make(environment, spec));
    });
  }

  async start(instance: string, attempt: number): Promise<GuestStatus> {
    const environment = await this.#environment();
    return this.#ledger.locks.run(instance, async () => {
      const record = await this.#ledger.settle(this.#record(instance));
      const current = await this.#status(environment, record);
      if (current.state !== 'created') {
        if (attempt === current.attempt) return current;
        if (current.state !== 'exited' || attempt < current.attempt) {
          throw new CloudosError(
            'GUEST_STATE',
            `${instance}: attempt ${attempt} was asked for, attempt ${current.attempt} is ${current.state}`,
          );
        }
      }
      const launched = await this.#life.launch(environment, record, attempt);
      return this.#statusIn(environment, launched.record, launched.state);
    });
  }

  async stop(instance: string, graceMs: number): Promise<GuestExit | undefined> {
    const environment = await this.#environment();
    const record = await this.#ledger.locks.run(instance, async () => {
      const found = await this.#ledger.settle(this.#record(instance));
      const { state, pid } = await this.#status(environment, found);
      if (state !== 'running' && state !== 'paused') return undefined;
      const stopping = await this.#records.save({ ...found, stopping: found.attempt });
      if (state === 'paused') await this.#freeze(environment, found, false);
      if (graceMs > 0) this.#ask(environment, found, pid, graceMs);
      return stopping;
    });
    if (!record) return undefined;
    const polite = await this.#ledger.ended(instance, record.attempt, graceMs);
    if (polite) return polite;
    await this.#life.kill(environment, record);
    const killed = await this.#ledger.ended(instance, record.attempt, killedMaxMs);
    if (killed) return killed;
    this.#record(instance); // not there any more where it was removed meanwhile
    throw new CloudosError('GUEST_UNRESPONSIVE', `${instance} is not gone ${killedMaxMs} ms after it was killed`);
  }

  /** Politely: a program gets the signal, a machine is asked to shut down in the way of its init. */
  #ask({ client }: LxdEnvironment, record: GuestRecord, pid: number | undefined, graceMs: number): void {
    if (record.program && pid !== undefined) {
      try {
        process.kill(pid, 'SIGTERM');
        return;
      } catch {
        // It is another user's, or gone: the daemon finds out.
      }
    }
    const timeout = Math.max(1, Math.ceil(graceMs / 1000));
    const shutdown = { action: 'stop', timeout, force: false };
    client.change('PUT', `/1.0/instances/${record.name}/state`, shutdown).catch(() => {}); // killed after the grace
  }

  async remove(instance: string): Promise<void> {
    if (!this.#records.get(instance)) return;
    const environment = await this.#environment();
    await this.#ledger.locks.run(instance, async () => {
      const record = this.#records.get(instance);
      if (record) await this.#life.dispose(environment, record);
    });
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
    if (!record) {
      throw new CloudosError('GUEST_NOT_FOUND', `no instance of this node has the handle ${JSON.stringify(handle)}`);
    }
    const status = await this.#status(environment, record);
    if (record.program && status.state === 'running') await environment.files.repair(record.spec.instance);
    return status;
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const environment = await this.#environment();
    const record = await this.#running(environment, instance);
    const { name, program, spec } = record;
    const defaults = {
      env: environmentOf(record),
      workingDir: program?.workingDir ?? '/',
      user: spec.template.user ?? 0,
    };
    return this.#beginnings.run(() => execInInstance(environment.client, name, request, defaults));
  }

  async *logs(instance: string, request: LogRequest): AsyncGenerator<OutputChunk> {
    const environment = await this.#environment();
    const record = this.#record(instance);
    if (request.since !== undefined && (!record.program || !environment.files.hasTimes)) {
      const what = record.program ? 'logs without perl have' : 'the console of a machine has';
      throw new CloudosError('GUEST_UNSUPPORTED', `${instance}: ${what} no times: since is not supported`, {
        remedy: record.program ? 'apt-get install perl-base' : 'ask for the last lines instead',
      });
    }
    const runs = async () => isRunning(await this.#life.state(environment, record));
    if (!record.program) return yield* readConsole(environment.client, record.name, request, runs);
    let ended = !(await runs());
    const seen = this.exits.subscribe((exit) => {
      if (exit.instance === instance) ended = true;
    });
    try {
      yield* readLogFiles(environment.files.directory(instance), request, () => ended);
    } finally {
      seen.unsubscribe();
    }
  }

  async stats(instance: string): Promise<GuestStats> {
    const environment = await this.#environment();
    const record = await this.#running(environment, instance, true);
    const state = await this.#life.state(environment, record);
    return state ? usageOf(state, record.program ? 1 : 0) : {};
  }

  async pause(instance: string): Promise<void> {
    await this.#setPaused(instance, true);
  }

  async resume(instance: string): Promise<void> {
    await this.#setPaused(instance, false);
  }

  async resize(instance: string, limits: GuestLimits): Promise<GuestStatus> {
    const environment = await this.#environment();
    return this.#ledger.locks.run(instance, async () => {
      const record = await this.#ledger.settle(this.#record(instance));
      const spec = { ...record.spec, template: { ...record.spec.template, ...limits } };
      checkSpec(spec);
      await changeLimits(environment, record, spec);
      return this.#status(environment, await this.#records.save({ ...record, spec }));
    });
  }

  async snapshot(instance: string, name: string): Promise<GuestSnapshot> {
    const environment = await this.#environment();
    return this.#ledger.locks.run(instance, () => takeSnapshot(environment, this.#record(instance), name));
  }

  async restore(instance: string, name: string): Promise<GuestStatus> {
    const environment = await this.#environment();
    await assertSnapshot(environment.client, this.#record(instance), name);
    await this.stop(instance, 0);
    return this.#ledger.locks.run(instance, async () => {
      const record = this.#record(instance);
      await restoreSnapshot(environment, record, name);
      return this.#status(environment, record);
    });
  }

  async *export(instance: string, snapshot: string): AsyncGenerator<Uint8Array> {
    const environment = await this.#environment();
    yield* exportSnapshot(environment, this.#record(instance), snapshot);
  }

  async import(spec: GuestSpec, data: AsyncIterable<Uint8Array>): Promise<GuestStatus> {
    checkSpec(spec);
    const environment = await this.#environment();
    return this.#ledger.locks.run(spec.instance, async () => {
      const before = this.#records.get(spec.instance);
      if (before) return this.#status(environment, before);
      return this.#status(environment, await importSnapshot(environment, this.#life, spec, data));
    });
  }

  async purge(): Promise<void> {
    const environment = await this.#environment();
    for (const { spec } of await this.#records.all()) await this.remove(spec.instance);
    const instances = await environment.client.get<Instance[] | null>('/1.0/instances?recursion=1');
    for (const { name, config } of instances ?? []) {
      if (config[keys.owner] !== environment.owner) continue;
      await this.#life.kill(environment, { name });
      await environment.client.change('DELETE', `/1.0/instances/${name}`);
    }
    await environment.images.removeAll();
    await environment.network?.remove();
    await this.#purged();
  }

  /** Looks whether the guest of that instance has ended. To be called when the daemon says so. */
  async look(name: string): Promise<void> {
    for (const record of await this.#records.all()) {
      if (record.name === name) await this.#ledger.look(record.spec.instance);
    }
  }

  /** {@link look} at every guest: after the daemon was away. */
  lookAtAll(): Promise<void> {
    return this.#ledger.lookAtAll();
  }

  close(): void {
    this.#ledger.close();
  }

  async #status(environment: LxdEnvironment, record: GuestRecord): Promise<GuestStatus> {
    return this.#statusIn(
      environment,
      record,
      record.attempt === 0 ? undefined : await this.#life.state(environment, record),
    );
  }

  #statusIn({ files }: LxdEnvironment, record: GuestRecord, state: InstanceState | undefined): GuestStatus {
    return statusOf(record, state, () => exitOf(record, files.end(record.spec.instance), state !== undefined));
  }

  async #endOf(record: GuestRecord): Promise<GuestExit | undefined> {
    const environment = await this.#environment();
    const state = await this.#life.state(environment, record);
    if (isRunning(state)) return undefined;
    return exitOf(record, environment.files.end(record.spec.instance), state !== undefined);
  }

  async #setPaused(instance: string, paused: boolean): Promise<void> {
    const environment = await this.#environment();
    await this.#ledger.locks.run(instance, async () => {
      await this.#freeze(environment, await this.#running(environment, instance, true), paused);
    });
  }

  async #freeze({ client }: LxdEnvironment, { name }: GuestRecord, frozen: boolean): Promise<void> {
    const { status } = await client.get<{ status: string }>(`/1.0/instances/${name}/state`);
    if ((status === 'Frozen') === frozen) return;
    const action = frozen ? 'freeze' : 'unfreeze';
    await client.change('PUT', `/1.0/instances/${name}/state`, { action, timeout: -1, force: false });
  }

  async #running(environment: LxdEnvironment, instance: string, orPaused = false): Promise<GuestRecord> {
    const record = this.#record(instance);
    const { state } = await this.#status(environment, record);
    if (state === 'running' || (orPaused && state === 'paused')) return record;
    throw new CloudosError('GUEST_STATE', `${instance} is ${state}; this needs it to run`);
  }

  #record(instance: string): GuestRecord {
    const record = this.#records.get(instance);
    if (record) return record;
    throw new CloudosError('GUEST_NOT_FOUND', `no instance for ${instance} is on this node`);
  }
}
