import { join } from 'node:path';
import { guestName, InstanceLocks, readLogFiles } from '@cloudos/host-tools';
import {
  CloudosError,
  type ExecRequest,
  type ExecSession,
  type GuestContainerChange,
  type GuestDriver,
  type GuestExit,
  type GuestFingerprint,
  type GuestHealth,
  type GuestSpec,
  type GuestStats,
  type GuestStatus,
  type LogRequest,
  type OutputChunk,
  refuseContainers,
  refuseOptions,
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { holding, holdStill, released } from './interrupted-snapshot.ts';
import { saveState } from './migration.ts';
import { containerDirectory, containerIndex } from './vm-containers.ts';
import type { VmHealth } from './vm-health.ts';
import { connectMonitor, VmLifecycle, type VmSettings } from './vm-lifecycle.ts';
import { endContainer } from './vm-pod.ts';
import { copyDisks, stateFile, VmSnapshots } from './vm-snapshots.ts';
import { machineDir, type VmState } from './vm-state.ts';
import { statusOf, type VmEnvironment, type VmView, viewVm } from './vm-view.ts';
import type { VmWatch } from './vm-watch.ts';

/** How long a killed machine may take to be gone. */
const killedMaxMs = 5_000;

/** Gives the environment when the runtime is available here, else throws RUNTIME_UNAVAILABLE. */
export type VmEnvironmentSource = () => Promise<VmEnvironment>;

export interface VmDriverParts {
  readonly runtime: string;
  readonly fingerprints: Observable<GuestFingerprint>;
  readonly environment: VmEnvironmentSource;
  /** Called when everything was purged: the environment has to be made anew. */
  readonly forget: () => void;
  readonly watch: VmWatch;
  readonly health: VmHealth;
  readonly settings: VmSettings;
}

/** Virtual machines on this node. All about a machine is on disk and in its carrier; this object holds none of it. */
export class VmDriver implements GuestDriver {
  readonly exits: Observable<GuestExit>;
  readonly health: Observable<GuestHealth>;
  readonly containerChanges: Observable<GuestContainerChange>;
  readonly #parts: VmDriverParts;
  readonly #lifecycle: VmLifecycle;
  readonly #locks = new InstanceLocks();

  constructor(parts: VmDriverParts) {
    this.#parts = parts;
    this.#lifecycle = new VmLifecycle(parts.watch, parts.health, parts.settings);
    this.exits = parts.watch.exits;
    this.health = parts.health.changes;
    this.containerChanges = parts.watch.containers.changes;
  }

  fingerprint(): Observable<GuestFingerprint> {
    return this.#parts.fingerprints;
  }

  create(spec: GuestSpec): Promise<GuestStatus> {
    return this.#create(spec);
  }

  async #create(
    spec: GuestSpec,
    fill?: (vm: { directory: string; state: VmState }) => Promise<VmState>,
  ): Promise<GuestStatus> {
    const environment = await this.#parts.environment();
    const { store, flavour } = environment;
    const name = guestName(spec.instance);
    if (!flavour.pods) refuseContainers(spec, flavour.runtime);
    refuseOptions(spec, flavour.runtime);
    return this.#locks.run(name, async () => {
      if (!(await viewVm(environment, name))) {
        const state: VmState = { version: 1, spec, attempt: 0, own: await flavour.admit(spec) };
        let made = state;
        await store.make(state, async (directory) => {
          await flavour.fill?.({ name, directory, state });
          if (fill) made = await fill({ directory, state });
        });
        if (made !== state) await store.save(made);
      }
      return this.#status(await this.#view(environment, spec.instance));
    });
  }

  async start(instance: string, attempt: number): Promise<GuestStatus> {
    const environment = await this.#parts.environment();
    return this.#locks.run(guestName(instance), async () => {
      const view = await this.#lifecycle.settle(environment, await this.#view(environment, instance));
      const current = this.#status(view);
      if (view.phase === 'running' || view.phase === 'exited') {
        if (attempt === current.attempt) return current;
        if (view.phase === 'running' || attempt < current.attempt) {
          throw new CloudosError(
            'GUEST_STATE',
            `${instance}: attempt ${attempt} was asked for, attempt ${current.attempt} is ${current.state}`,
          );
        }
      }
      await this.#lifecycle.launch(environment, view, attempt, view.state.resumeFrom);
      return this.#status(await this.#view(environment, instance));
    });
  }

  async stop(instance: string, graceMs: number): Promise<GuestExit | undefined> {
    const environment = await this.#parts.environment();
    const { store, carrier, flavour } = environment;
    const name = guestName(instance);
    const launch = await this.#locks.run(name, async () => {
      const view = await this.#view(environment, instance);
      if (view.phase !== 'running' || !view.state.launch) return undefined;
      const { launch } = view.state;
      await store.save({ ...view.state, stopping: launch });
      if (graceMs <= 0) await carrier.kill(name);
      else if (view.state.paused) await this.#setRunning(view, true).catch(() => {});
      if (graceMs > 0) flavour.askToStop(view).catch(() => {});
      return launch;
    });
    if (launch === undefined) return undefined;
    const polite = await this.#parts.watch.ended(environment, name, launch, graceMs);
    if (polite) return polite;
    const now = await viewVm(environment, name);
    if (now?.state.launch === launch) await carrier.kill(name);
    const killed = await this.#parts.watch.ended(environment, name, launch, killedMaxMs);
    if (killed) return killed;
    throw new CloudosError('HOST_COMMAND_FAILED', `${instance} is not gone ${killedMaxMs} ms after it was killed`);
  }

  async remove(instance: string): Promise<void> {
    const environment = await this.#parts.environment();
    const name = guestName(instance);
    await this.#locks.run(name, () => this.#lifecycle.dispose(environment, name));
  }

  async list(): Promise<readonly GuestStatus[]> {
    const environment = await this.#parts.environment();
    const statuses: GuestStatus[] = [];
    for (const name of await environment.store.names()) {
      const view = await viewVm(environment, name);
      if (view) statuses.push(this.#status(view));
    }
    return statuses;
  }

  async adopt(handle: unknown): Promise<GuestStatus> {
    const environment = await this.#parts.environment();
    const { runtime, instance } = (handle ?? {}) as { runtime?: unknown; instance?: unknown };
    const known = runtime === this.#parts.runtime && typeof instance === 'string' ? guestName(instance) : undefined;
    const found = known === undefined ? undefined : await viewVm(environment, known);
    if (!found)
      throw new CloudosError('GUEST_NOT_FOUND', `no guest on this node has the handle ${JSON.stringify(handle)}`);
    return this.#locks.run(found.name, async () => {
      const view = await this.#lifecycle.settle(environment, await this.#view(environment, found.state.spec.instance));
      if (view.phase === 'running') await environment.flavour.adopted?.(view);
      return this.#status(view);
    });
  }

  async endContainer(instance: string, container: string, graceMs: number): Promise<void> {
    const environment = await this.#parts.environment();
    await endContainer(environment.flavour, this.#running(await this.#view(environment, instance)), container, graceMs);
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const environment = await this.#parts.environment();
    const { flavour } = environment;
    const view = await this.#view(environment, instance);
    if (!flavour.exec) throw new CloudosError('GUEST_UNSUPPORTED', `guests of ${flavour.runtime} run no commands`);
    containerIndex(view.state.spec, request.container);
    this.#parts.health.check(view.name);
    return flavour.exec(this.#running(view), request);
  }

  async *logs(instance: string, request: LogRequest): AsyncGenerator<OutputChunk> {
    const environment = await this.#parts.environment();
    const { directory, name, state } = await this.#view(environment, instance);
    if (request.since !== undefined && !environment.store.logger) {
      throw new CloudosError('GUEST_UNSUPPORTED', 'logs are kept without times on a host without perl');
    }
    const hasEnded = async () => (await viewVm(environment, name))?.phase !== 'running';
    const further = containerIndex(state.spec, request.container) > 0 ? request.container : undefined;
    const files = further === undefined ? directory : containerDirectory(directory, further);
    yield* readLogFiles(files, request, hasEnded);
  }

  async stats(instance: string): Promise<GuestStats> {
    const environment = await this.#parts.environment();
    const view = this.#running(await this.#view(environment, instance), true);
    const outside = await environment.carrier.stats(view.name);
    const { flavour } = environment;
    // A machine that stands still answers nothing.
    const isStill = this.#status(view).state === 'paused' || this.#parts.health.obstacle(view.name);
    return flavour.stats && !isStill ? flavour.stats(view, outside) : outside;
  }

  async pause(instance: string): Promise<void> {
    await this.#setPaused(instance, true);
  }

  async resume(instance: string): Promise<void> {
    await this.#setPaused(instance, false);
  }

  async snapshot(instance: string, name: string): Promise<{ name: string; sizeBytes: number; memory: boolean }> {
    const environment = await this.#parts.environment();
    return this.#locks.run(guestName(instance), async () => {
      const view = this.#running(await this.#view(environment, instance), true);
      const machine = await environment.flavour.machine(view);
      if (machine.mounts) refuseMounts(instance);
      await environment.flavour.beforeSnapshot?.(view);
      const snapshots = new VmSnapshots(view.directory, this.#parts.runtime);
      const work = join(view.directory, machineDir);
      const qmp = await connectMonitor(view);
      try {
        await environment.store.save(holding(view.state));
        const meta = await snapshots.make(name, machine.shape, async (directory) => {
          await holdStill(qmp);
          await saveState(qmp, work, join(directory, stateFile));
          await copyDisks(machine.disks, work, directory);
        });
        return { name, sizeBytes: meta.files.reduce((sum, { size }) => sum + size, 0), memory: true };
      } finally {
        if (!view.state.paused) await qmp.execute('cont').catch(() => {});
        qmp.close();
        await environment.store.save(released(view.state)).catch(() => {});
      }
    });
  }

  async restore(instance: string, name: string): Promise<GuestStatus> {
    const environment = await this.#parts.environment();
    return this.#locks.run(guestName(instance), async () => {
      const view = await this.#view(environment, instance);
      const snapshots = new VmSnapshots(view.directory, this.#parts.runtime);
      const { shape } = await snapshots.meta(name);
      const machine = await environment.flavour.machine(view);
      if (shape !== machine.shape)
        throw new CloudosError('SNAPSHOT_INVALID', `${name} is of another machine: ${shape}`);
      await this.#lifecycle.launch(environment, view, Math.max(1, view.state.attempt), name);
      return this.#status(await this.#view(environment, instance));
    });
  }

  async *export(instance: string, snapshot: string): AsyncGenerator<Uint8Array> {
    const environment = await this.#parts.environment();
    const { directory } = await this.#view(environment, instance);
    yield* new VmSnapshots(directory, this.#parts.runtime).export(snapshot);
  }

  async import(spec: GuestSpec, data: AsyncIterable<Uint8Array>): Promise<GuestStatus> {
    const environment = await this.#parts.environment();
    const { flavour } = environment;
    const name = guestName(spec.instance);
    return this.#create(spec, async ({ directory, state }) => {
      const { shape } = await flavour.machine({ name, directory, state });
      const snapshots = new VmSnapshots(directory, this.#parts.runtime);
      const meta = await snapshots.import(data, shape);
      return { ...state, resumeFrom: meta.name };
    });
  }

  async purge(): Promise<void> {
    const environment = await this.#parts.environment();
    const names = await environment.store.names();
    await Promise.all(names.map((name) => this.#locks.run(name, () => this.#lifecycle.dispose(environment, name))));
    await this.#lifecycle.purgeNode(environment);
    await environment.store.destroy();
    this.#parts.forget();
  }

  async #setPaused(instance: string, paused: boolean): Promise<void> {
    const environment = await this.#parts.environment();
    await this.#locks.run(guestName(instance), async () => {
      const view = this.#running(await this.#view(environment, instance), true);
      if ((view.state.paused ?? false) === paused) return;
      await this.#setRunning(view, !paused);
      await environment.store.save({ ...view.state, paused });
    });
  }

  async #setRunning(view: VmView, running: boolean): Promise<void> {
    const qmp = await connectMonitor(view);
    try {
      await qmp.execute(running ? 'cont' : 'stop');
    } finally {
      qmp.close();
    }
  }

  #running(view: VmView, orPaused = false): VmView {
    if (view.phase === 'running' && (!view.state.paused || orPaused)) return view;
    const { state } = this.#status(view);
    throw new CloudosError('GUEST_STATE', `${view.state.spec.instance} is ${state}; this needs it to run`);
  }

  async #view(environment: VmEnvironment, instance: string): Promise<VmView> {
    const view = await viewVm(environment, guestName(instance));
    if (view) return view;
    throw new CloudosError('GUEST_NOT_FOUND', `no guest called ${instance} is on this node`);
  }

  #status(view: VmView): GuestStatus {
    return statusOf(this.#parts.runtime, view);
  }
}

/** The daemon that serves them keeps files open, and cannot write that down. @throws CloudosError GUEST_UNSUPPORTED */
function refuseMounts(instance: string): never {
  throw new CloudosError('GUEST_UNSUPPORTED', `${instance} has paths of the node: its state does not go without them`, {
    remedy: 'take snapshots of guests without mounts',
  });
}
