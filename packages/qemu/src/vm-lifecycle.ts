import { randomBytes } from 'node:crypto';
import { chown } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive, type ProcessIdentity, until } from '@cloudos/host-tools';
import { CloudosError, errorCode, messageOf, type ResourceVector } from '@cloudos/sdk';
import { loadState } from './migration.ts';
import { mountsChardev } from './mounts.ts';
import { QmpClient } from './qmp.ts';
import type { Machine, Vm } from './vm-flavour.ts';
import { eventsMonitor, type VmHealth } from './vm-health.ts';
import { forwardedPorts, hub, innerTap, macOfGuest, netdev, plugIntoHub, type VmBridge } from './vm-network.ts';
import { restoreDisks, stateFile, VmSnapshots } from './vm-snapshots.ts';
import { isDiskFull, machineDir, type VmNetworkState, type VmState } from './vm-state.ts';
import { lastAttempt, type VmEnvironment, type VmView, viewVm } from './vm-view.ts';
import type { VmWatch } from './vm-watch.ts';

export interface VmSettings {
  /** Absent: ports are forwarded. */
  readonly bridge?: VmBridge;
  /** User that QEMU runs as, where the driver is root. */
  readonly user?: number;
  readonly startTimeoutMs: number;
}

/** How long the end of a QEMU that is gone may take to be recorded. */
const endedMaxMs = 2_000;
/** How long a launch may be without its driver before it is undone. */
const cutOffMaxMs = 2_000;
/** Threads and processes of QEMU itself. */
const qemuPidsMax = 256;

export function qmpPath(directory: string): string {
  return join(directory, machineDir, 'qmp');
}

/** QEMU's own protocol for the machine. One at a time can hold it. */
export function connectMonitor({ directory }: Pick<Vm, 'directory'>): Promise<QmpClient> {
  return QmpClient.connect(qmpPath(directory), { timeoutMs: 5_000 });
}

/** Carries machines from one state to the next. Each call may follow a crash in the middle of any other. */
export class VmLifecycle {
  readonly #watch: VmWatch;
  readonly #health: VmHealth;
  readonly #settings: VmSettings;

  constructor(watch: VmWatch, health: VmHealth, settings: VmSettings) {
    this.#watch = watch;
    this.#health = health;
    this.#settings = settings;
    watch.onEnded = async (environment, name) => this.#over(environment, name);
  }

  /** The monitor of a machine that runs. */
  /**
   * Runs QEMU for a guest. Resolves when its program runs. What was begun is undone when that fails.
   * @param snapshot the name of the state to go on from
   */
  async launch(environment: VmEnvironment, view: VmView, attempt: number, snapshot?: string): Promise<void> {
    const { store } = environment;
    const network = await this.#network(environment, view);
    const { stopping: _stopping, paused: _paused, heldBy: _heldBy, ...kept } = view.state;
    const state: VmState = {
      ...kept,
      attempt,
      launch: randomBytes(8).toString('hex'),
      beginning: true,
      previousAttempt: lastAttempt(view),
      network,
    };
    await store.reserve(view.name).catch(() => {}); // what comes next tells of a full disk
    // From here on an end of the run before is nobody's exit any more.
    await store.save(state);
    try {
      await this.clear(environment, view.name);
      await store.save(begun(await this.#run(environment, { ...view, state }, snapshot)));
    } catch (error) {
      if (snapshot === undefined && (await this.#hasEndedByItself(environment, view.name, begun(state)))) return;
      const full = this.#health.obstacle(view.name);
      const said = full?.reason ?? (await environment.carrier.lastWords(view.name));
      await this.clear(environment, view.name);
      const { launch: _launch, previousAttempt: _previous, beginning: _beginning, ...before } = state;
      await store.save({ ...before, attempt: lastAttempt(view) });
      const code = errorCode(error);
      if (code !== undefined && code !== 'GUEST_UNRESPONSIVE') throw error;
      const why = `${state.spec.instance}: ${said || messageOf(error)}`;
      const remedy = full && { remedy: full.remedy };
      const kind = full || isDiskFull(error) ? 'DISK_FULL' : 'GUEST_START_FAILED';
      throw new CloudosError(kind, why, { cause: error, ...remedy });
    }
    this.#watch.look(environment, view.name);
  }

  /** A guest may be done before all was said to it; what runs QEMU takes a moment to say so. */
  async #hasEndedByItself(environment: VmEnvironment, name: string, state: VmState): Promise<boolean> {
    const deadline = Date.now() + endedMaxMs;
    for (;;) {
      const run = await environment.carrier.look(name, state.launch ?? '');
      if (run.phase === 'running' && (!run.process || !isAlive(run.process)) && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        continue;
      }
      if (run.phase !== 'ended') return false;
      const told = await environment.flavour.explain(
        { name, directory: environment.store.directory(name), state },
        run.end,
      );
      if (!['exited', 'oom-killed'].includes(told.reason)) return false;
      await environment.store.save(state);
      this.#watch.look(environment, name);
      return true;
    }
  }

  async #run(environment: VmEnvironment, vm: Vm, snapshot: string | undefined): Promise<VmState> {
    const { carrier, flavour } = environment;
    const { state, name, directory } = vm;
    await flavour.prepare?.(vm);
    const machine = await flavour.machine(vm);
    const source = snapshot === undefined ? undefined : await this.#snapshot(environment, vm, machine, snapshot);
    const { bridge, user } = this.#settings;
    const bridged = bridge && state.network?.kind === 'bridge';
    const tap = bridged && !carrier.ownNetwork ? bridge.linkName(ownerOf(environment, name)) : undefined;
    await this.#giveToQemu(vm, machine);
    const launch = state.launch ?? '';
    const ports = bridged ? [] : tcpPorts(state);
    const card = bridged && carrier.ownNetwork ? hub : netdev(tap, ports, machine.offloads);
    await carrier.launch({
      name,
      directory,
      launch,
      args: [
        ...monitorArguments(launch),
        ...(machine.disks.length > 0 ? eventsMonitor : []),
        ...containerConsoles(machine.containers ?? []),
        ...(machine.mounts ? mountsChardev : []),
        ...card,
        ...machine.args,
        // Nothing of the guest runs before all around it is in place.
        '-S',
        ...(source || machine.incoming ? ['-incoming', 'defer'] : []),
      ],
      files: machine.files,
      ...(machine.console ? { console: true } : {}),
      ...(machine.containers ? { containers: machine.containers } : {}),
      ...(machine.mounts ? { mounts: machine.mounts } : {}),
      limits: qemuLimits(state, machine),
      requests: state.spec.template.requests,
      ...(tap === undefined || !bridge ? {} : { tap, plugged: bridge.plugTap({ link: tap }, user) }),
      ports,
    });
    return this.#begin(environment, vm, source, machine.incoming === true && source === undefined);
  }

  async #begin(environment: VmEnvironment, vm: Vm, source: string | undefined, incoming: boolean): Promise<VmState> {
    const { carrier, flavour } = environment;
    const { state, name, directory } = vm;
    const launch = state.launch ?? '';
    const isAlive = async () => (await carrier.look(name, launch)).phase !== 'ended';
    let alive = true;
    const watching = setInterval(async () => {
      alive = await isAlive().catch(() => true);
    }, 20);
    let qmp: QmpClient | undefined;
    try {
      const options = { timeoutMs: this.#settings.startTimeoutMs, isAlive: () => alive };
      qmp = await QmpClient.connect(qmpPath(directory), options);
      carrier.began?.(name);
      this.#health.watch(environment, vm);
      await this.#plug(environment, vm, qmp);
      if (source !== undefined) await loadState(qmp, join(directory, machineDir), join(source, stateFile));
      const network =
        state.network?.kind === 'ports' ? { ...state.network, ports: await forwardedPorts(qmp) } : state.network;
      const settled = network ? { ...state, network } : state;
      if (!incoming) await qmp.execute('cont');
      await flavour.started?.({ ...vm, state: settled }, qmp, source !== undefined, isAlive);
      return settled;
    } finally {
      clearInterval(watching);
      qmp?.close();
    }
  }

  /** Makes the tap of a QEMU with a network namespace of its own, which goes away with it. */
  async #plug(environment: VmEnvironment, { name, state }: Vm, qmp: QmpClient): Promise<void> {
    const { bridge, user } = this.#settings;
    if (!environment.carrier.ownNetwork || !bridge || state.network?.kind !== 'bridge') return;
    const { pid } = await this.#firstProcess(environment, name, state.launch ?? '');
    const link = bridge.linkName(ownerOf(environment, name));
    await bridge.plugTapInto({ link }, pid, { name: innerTap, ...(user === undefined ? {} : { user }) });
    await plugIntoHub(qmp);
  }

  /** The process of QEMU: runc writes down which it is when it runs already, and may have answered. */
  async #firstProcess({ carrier }: VmEnvironment, name: string, launch: string): Promise<ProcessIdentity> {
    await until(this.#settings.startTimeoutMs, async () => {
      const seen = await carrier.look(name, launch);
      return seen.phase !== 'running' || seen.process !== undefined;
    });
    const run = await carrier.look(name, launch);
    if (run.phase === 'running' && run.process) return run.process;
    throw new CloudosError('GUEST_UNRESPONSIVE', `${name} ended at once`);
  }

  async #snapshot(environment: VmEnvironment, vm: Vm, machine: Machine, name: string): Promise<string> {
    const snapshots = new VmSnapshots(vm.directory, environment.flavour.runtime);
    const meta = await snapshots.meta(name);
    if (meta.shape !== machine.shape) {
      throw new CloudosError(
        'SNAPSHOT_INVALID',
        `${name} is of another machine: ${meta.shape}, this one is ${machine.shape}`,
      );
    }
    await restoreDisks(machine.disks, snapshots.path(name), vm.directory);
    return snapshots.path(name);
  }

  /** What QEMU writes belongs to its user; everything else of the guest does not. */
  async #giveToQemu({ directory }: Vm, machine: Machine): Promise<void> {
    const { user } = this.#settings;
    if (user === undefined) return;
    const own = join(directory, machineDir);
    await chown(own, user, user);
    for (const disk of machine.disks) await chown(join(own, disk), user, user);
  }

  async #network(environment: VmEnvironment, view: VmView): Promise<VmNetworkState> {
    const { bridge } = this.#settings;
    const owner = ownerOf(environment, view.name);
    const mac = macOfGuest(`${view.directory}\n${owner}`);
    if (!bridge) return { kind: 'ports', mac, ports: {} };
    const before = view.state.network?.kind === 'bridge' ? view.state.network.address : undefined;
    const address = await bridge.claim(owner, before);
    const { prefix, gateway } = await bridge.ensure();
    return { kind: 'bridge', address, prefix, gateway, mac };
  }

  #over({ flavour }: VmEnvironment, name: string): void {
    flavour.ended?.(name);
    this.#health.forget(name);
  }

  /** Leaves no process and no interface of the machine; its files stay. */
  async clear(environment: VmEnvironment, name: string): Promise<void> {
    await environment.carrier.clear(name);
    this.#over(environment, name);
    const { bridge } = this.#settings;
    await bridge?.unplug(bridge.linkName(ownerOf(environment, name)));
  }

  /** Removes everything of a machine, whatever state it is in. */
  async dispose(environment: VmEnvironment, name: string): Promise<void> {
    const { store } = environment;
    const state = await store.state(name);
    await this.clear(environment, name);
    if (state?.network?.kind === 'bridge') {
      await this.#settings.bridge?.release(ownerOf(environment, name), state.network.address);
    }
    if (state) await environment.flavour.removed?.({ name, directory: store.directory(name), state });
    await store.remove(name);
  }

  /** Removes what belongs to the node and not to one machine. */
  async purgeNode(environment: VmEnvironment): Promise<void> {
    this.#watch.end();
    await environment.carrier.purge();
    await environment.flavour.purge?.();
    await this.#settings.bridge?.remove();
  }

  /** A launch that was cut off counts for nothing. One that another generation of the driver is at is waited for. */
  async settle(environment: VmEnvironment, view: VmView): Promise<VmView> {
    if (view.phase !== 'unborn') return view;
    const deadline = Date.now() + cutOffMaxMs;
    for (let now: VmView | undefined = view; ; now = await viewVm(environment, view.name)) {
      if (now?.phase !== 'unborn' || now.state.launch !== view.state.launch) return now ?? view;
      if (Date.now() > deadline || !now.state.beginning) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await this.clear(environment, view.name);
    const { launch: _launch, previousAttempt: _previous, beginning: _beginning, ...before } = view.state;
    await environment.store.save({ ...before, attempt: lastAttempt(view) });
    return (await viewVm(environment, view.name)) ?? view;
  }
}

/** The state of a launch that is complete. */
function begun({ beginning: _beginning, resumeFrom: _used, ...state }: VmState): VmState {
  return state;
}

function ownerOf({ flavour }: VmEnvironment, name: string): string {
  return `${flavour.runtime} ${name}`;
}

function tcpPorts({ spec }: VmState): number[] {
  return [...new Set(spec.template.ports.filter(({ protocol }) => protocol === 'tcp').map(({ port }) => port))];
}

/** Processor time as asked for; memory is what the machine needs, because its guest cannot take more than it has. */
function qemuLimits({ spec }: VmState, machine: Machine): ResourceVector {
  return {
    cpuMillis: spec.template.limits.cpuMillis,
    memoryBytes: machine.memoryBytes,
    diskBytes: 0,
    pids: qemuPidsMax,
  };
}

/** What containers beside the first write, each to pipes of its own. */
function containerConsoles(containers: readonly string[]): string[] {
  const pipe = (id: string) => ['-chardev', `file,id=${id},path=${id},append=on`];
  return containers.flatMap((_, index) => [...pipe(`out${index + 1}`), ...pipe(`err${index + 1}`)]);
}

function monitorArguments(launch: string): string[] {
  return [
    ...['-name', `guest=cloudos-${launch}`, '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-chardev', 'socket,id=qmp,path=qmp,server=on,wait=off', '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', 'file,id=out,path=out,append=on', '-chardev', 'file,id=err,path=err,append=on'],
  ];
}
