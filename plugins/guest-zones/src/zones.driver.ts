import { InstanceLocks, readLogFiles, signalProcess } from '@cloudos/host-tools';
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
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { tellingFullDisk } from './disk-full.ts';
import { LoopTurns } from './loop-turns.ts';
import { execInZone } from './zone-exec.ts';
import { guestEnvironment, type ZoneEnvironment } from './zone-launcher.ts';
import { ZoneLifecycle } from './zone-lifecycle.ts';
import { zoneName } from './zone-name.ts';
import { zoneLimits, zoneRequests } from './zone-options.ts';
import { zoneRoot } from './zone-root.ts';
import { checkResize, checkZoneSpec } from './zone-spec.ts';
import { zoneUsage } from './zone-usage.ts';
import { statusOf, viewZone, type ZoneView, zoneOfHandle } from './zone-view.ts';
import type { ZoneWatch } from './zone-watch.ts';

/** How long a killed zone may take to be gone. */
const killedMaxMs = 5_000;

/** Gives the environment when the runtime is available here, else throws RUNTIME_UNAVAILABLE. */
export type EnvironmentSource = () => Promise<ZoneEnvironment>;

/** Zones on this host. Everything about a zone is on disk and in its processes; this object holds none of it. */
export class ZonesDriver implements GuestDriver {
  readonly exits: Observable<GuestExit>;
  readonly #fingerprints: Observable<GuestFingerprint>;
  readonly #environment: EnvironmentSource;
  readonly #watch: ZoneWatch;
  readonly #lifecycle: ZoneLifecycle;
  readonly #locks = new InstanceLocks();
  readonly #turns = new LoopTurns();
  readonly #forget: () => void;

  constructor(parts: {
    fingerprints: Observable<GuestFingerprint>;
    environment: EnvironmentSource;
    /** Called when everything was purged: the environment has to be made anew. */
    forget: () => void;
    watch: ZoneWatch;
  }) {
    this.#fingerprints = parts.fingerprints;
    this.#environment = parts.environment;
    this.#forget = parts.forget;
    this.#watch = parts.watch;
    this.#lifecycle = new ZoneLifecycle(parts.watch);
    this.exits = parts.watch.exits;
  }

  fingerprint(): Observable<GuestFingerprint> {
    return this.#fingerprints;
  }

  async create(spec: GuestSpec): Promise<GuestStatus> {
    refuseContainers(spec, 'zones');
    checkZoneSpec(spec);
    const environment = await this.#environment();
    const zone = zoneName(spec.instance);
    return this.#locks.run(zone, async () => {
      await this.#turns.next();
      if (!viewZone(environment.store, zone)) {
        await environment.network?.ensure();
        await tellingFullDisk(environment.dataDir, () => this.#lifecycle.make(environment, spec));
      }
      return this.#status(environment, this.#view(environment, spec.instance));
    });
  }

  async start(instance: string, attempt: number): Promise<GuestStatus> {
    const environment = await this.#environment();
    return this.#locks.run(zoneName(instance), async () => {
      await this.#turns.next();
      const view = await this.#lifecycle.settle(environment, this.#view(environment, instance));
      const current = this.#status(environment, view);
      if (view.phase === 'running' || view.phase === 'exited') {
        if (attempt === current.attempt) return current;
        if (view.phase === 'running' || attempt < current.attempt) {
          throw new CloudosError(
            'GUEST_STATE',
            `${instance}: attempt ${attempt} was asked for, attempt ${current.attempt} is ${current.state}`,
          );
        }
      }
      await tellingFullDisk(environment.dataDir, () => this.#lifecycle.launch(environment, view, attempt));
      return this.#status(environment, this.#view(environment, instance));
    });
  }

  async stop(instance: string, graceMs: number): Promise<GuestExit | undefined> {
    const environment = await this.#environment();
    const launch = await this.#locks.run(zoneName(instance), async () => {
      const view = await this.#lifecycle.settle(environment, this.#view(environment, instance));
      if (view.phase !== 'running' || !view.run) return undefined;
      await environment.store.save({ ...view.state, paused: false, stopping: view.run.launch });
      if (view.state.paused) environment.groups.setFrozen(view.zone, false);
      signalProcess(view.run.init, graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
      return view.run.launch;
    });
    if (launch === undefined) return undefined;
    const polite = await this.#watch.ended(environment, zoneName(instance), launch, graceMs);
    if (polite) return polite;
    const run = environment.store.run(zoneName(instance));
    if (run?.launch === launch) signalProcess(run.init, 'SIGKILL');
    const killed = await this.#watch.ended(environment, zoneName(instance), launch, killedMaxMs);
    if (killed) return killed;
    throw new CloudosError('HOST_COMMAND_FAILED', `${instance} is not gone ${killedMaxMs} ms after it was killed`);
  }

  async remove(instance: string): Promise<void> {
    const environment = await this.#environment();
    const zone = zoneName(instance);
    await this.#locks.run(zone, () => this.#lifecycle.dispose(environment, zone));
  }

  async list(): Promise<readonly GuestStatus[]> {
    const environment = await this.#environment();
    const statuses: GuestStatus[] = [];
    for (const zone of await environment.store.zones()) {
      const view = viewZone(environment.store, zone);
      if (!view) continue;
      const settled = view.phase === 'ended-unseen' ? await this.#lifecycle.settle(environment, view) : view;
      statuses.push(this.#status(environment, settled));
    }
    return statuses;
  }

  async adopt(handle: unknown): Promise<GuestStatus> {
    const environment = await this.#environment();
    const zone = zoneOfHandle(handle);
    const found = zone === undefined ? undefined : viewZone(environment.store, zone);
    if (!found) {
      throw new CloudosError('GUEST_NOT_FOUND', `no zone on this node has the handle ${JSON.stringify(handle)}`);
    }
    return this.#locks.run(found.zone, async () => {
      const view = await this.#lifecycle.settle(environment, this.#view(environment, found.state.spec.instance));
      await this.#lifecycle.repairForwarder(environment, view);
      return this.#status(environment, this.#view(environment, found.state.spec.instance));
    });
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const environment = await this.#environment();
    const { run, state, zone } = this.#running(environment, instance);
    const { mounts: _mounts, ...template } = state.spec.template;
    const root = await zoneRoot(environment, { ...state.spec, template }, state.image);
    return execInZone(
      {
        pid: run.init.pid,
        rootless: environment.abilities.rootless,
        controlGroups: environment.groups.directories(zone),
        root,
        env: await guestEnvironment(environment, state, root),
      },
      request,
    );
  }

  async *logs(instance: string, request: LogRequest): AsyncGenerator<OutputChunk> {
    const environment = await this.#environment();
    if (request.since !== undefined && !environment.toolbox.logger) {
      throw new CloudosError('GUEST_UNSUPPORTED', 'logs have times only where the host has perl', {
        remedy: 'apt-get install perl-base',
      });
    }
    const { zone } = this.#view(environment, instance);
    const hasEnded = () => {
      const view = viewZone(environment.store, zone);
      return view?.phase !== 'running' && view?.phase !== 'created' && view?.phase !== 'unborn';
    };
    yield* readLogFiles(environment.store.directory(zone), request, hasEnded);
  }

  async stats(instance: string): Promise<GuestStats> {
    const environment = await this.#environment();
    const { run, zone } = this.#running(environment, instance, true);
    return { ...zoneUsageWhere(environment, run.init.pid), ...environment.groups.stats(zone) };
  }

  async pause(instance: string): Promise<void> {
    await this.#setPaused(instance, true);
  }

  async resume(instance: string): Promise<void> {
    await this.#setPaused(instance, false);
  }

  async resize(instance: string, limits: GuestLimits): Promise<GuestStatus> {
    const environment = await this.#environment();
    return this.#locks.run(zoneName(instance), async () => {
      const view = await this.#lifecycle.settle(environment, this.#view(environment, instance));
      const { spec } = view.state;
      const wanted = { ...spec, template: { ...spec.template, ...limits } };
      checkZoneSpec(wanted);
      checkResize(spec, wanted, environment);
      if (view.phase === 'running') {
        environment.groups.change(view.zone, zoneLimits(wanted.template), zoneRequests(wanted.template));
      }
      await environment.store.save({ ...view.state, spec: wanted });
      return this.#status(environment, this.#view(environment, instance));
    });
  }

  async purge(): Promise<void> {
    const environment = await this.#environment();
    const zones = await environment.store.zones();
    await Promise.all(zones.map((zone) => this.#locks.run(zone, () => this.#lifecycle.dispose(environment, zone))));
    await this.#lifecycle.purgeNode(environment);
    this.#forget();
  }

  async #setPaused(instance: string, paused: boolean): Promise<void> {
    const environment = await this.#environment();
    if (!environment.groups.canFreeze) {
      throw new CloudosError('GUEST_UNSUPPORTED', 'zones cannot be paused here: there is no writable control group', {
        remedy: 'run as root',
      });
    }
    await this.#locks.run(zoneName(instance), async () => {
      const { state, zone } = this.#running(environment, instance, true);
      if ((state.paused ?? false) === paused) return;
      await this.#lifecycle.setFrozen(environment, zone, paused);
      await environment.store.save({ ...state, paused });
    });
  }

  #running(environment: ZoneEnvironment, instance: string, orPaused = false) {
    const view = this.#view(environment, instance);
    if (view.phase !== 'running' || !view.run || (view.state.paused && !orPaused)) {
      const { state } = this.#status(environment, view);
      throw new CloudosError('GUEST_STATE', `${instance} is ${state}; this needs it to run`);
    }
    return { ...view, run: view.run };
  }

  #view({ store }: ZoneEnvironment, instance: string): ZoneView {
    const view = viewZone(store, zoneName(instance));
    if (view) return view;
    throw new CloudosError('GUEST_NOT_FOUND', `no zone called ${instance} is on this node`);
  }

  #status(environment: ZoneEnvironment, view: ZoneView): GuestStatus {
    return statusOf(view, environment.network !== undefined);
  }
}

/** Where control groups tell all of it, the processes are not asked. */
function zoneUsageWhere({ groups }: ZoneEnvironment, pid: number): GuestStats {
  if (groups.layout.version !== 'none' && groups.holds('memory') && groups.holds('pids')) return {};
  return zoneUsage(pid);
}
