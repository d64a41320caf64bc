import { readFile } from 'node:fs/promises';
import { ControlGroups, digest, findControlGroups } from '@cloudos/host-tools';
import { NodeNetwork } from '@cloudos/node-network';
import { CloudosError, type GuestFingerprint, messageOf, type PluginContext } from '@cloudos/sdk';
import { BehaviorSubject } from 'rxjs';
import { type Accelerator, type AcceleratorChoice, chooseAccelerator, findQemu } from './accelerator.ts';
import type { Carrier } from './carrier.ts';
import { endInterruptedSnapshot } from './interrupted-snapshot.ts';
import { VmDriver } from './vm.driver.ts';
import type { VmFlavour } from './vm-flavour.ts';
import { VmHealth } from './vm-health.ts';
import { VmStore } from './vm-state.ts';
import { runningVms, type VmEnvironment } from './vm-view.ts';
import { VmWatch } from './vm-watch.ts';

/** Configuration that the runtimes on QEMU share; each has a schema with its own defaults. */
export interface VmConfig {
  readonly network: {
    readonly mode: 'auto' | 'bridge' | 'ports';
    readonly bridge?: string | undefined;
    readonly subnet?: string | undefined;
  };
  readonly accelerator: 'auto' | Accelerator;
  /** User that QEMU runs as, where the driver is root. */
  readonly user: number;
  readonly logs: { readonly maxBytes: number };
  readonly startTimeoutMs: number;
  readonly pollMs: number;
  readonly retryMs: number;
}

/** What a node has for machines: found once at the start, and again after a purge. */
export interface VmHost {
  readonly qemu: { readonly path: string; readonly version: string };
  readonly accelerator: AcceleratorChoice;
  readonly groups: ControlGroups;
  readonly rootless: boolean;
  readonly bridge: boolean;
  readonly store: VmStore;
  readonly context: PluginContext;
  readonly config: VmConfig;
}

export type Warnings = readonly { readonly reason: string; readonly remedy: string }[];

/** What the runtime is made of on this node, or why it is not there. */
export type VmRuntime =
  | {
      readonly flavour: VmFlavour;
      readonly carrier: Carrier;
      readonly features: Readonly<Record<string, boolean | string | number>>;
      readonly warnings: Warnings;
    }
  | { readonly reason: string; readonly remedy: string };

interface Found {
  readonly host?: VmHost;
  readonly runtime?: VmRuntime & { flavour: VmFlavour };
  readonly fingerprint: GuestFingerprint;
}

/**
 * Makes the driver of a runtime on QEMU: probes the node, keeps probing while something is missing, and makes the
 * environment when it is first used.
 * @param make what the runtime adds, on a node that has QEMU
 */
export async function createVmDriver(
  name: string,
  context: PluginContext,
  config: VmConfig,
  make: (host: VmHost) => Promise<VmRuntime>,
): Promise<VmDriver> {
  const { scope, clock, logger } = context;
  const probe = () => find(name, context, config, make);
  let current = await probe();
  const fingerprints = new BehaviorSubject<GuestFingerprint>(current.fingerprint);
  scope.defer('fingerprint', () => fingerprints.complete());
  const watch = new VmWatch(clock, logger, config.pollMs);
  scope.defer('watch of machines', () => watch.end());
  const health = await scope.acquire(
    'health of machines',
    () => new VmHealth(clock, logger),
    (open) => open.close(),
  );
  scope.defer('connections to guests', () => current.runtime?.flavour.detach?.());
  let cancel = () => {};
  const retry = () => {
    cancel = clock.after(config.retryMs, async () => {
      current = await probe().catch(() => current);
      if (scope.closed) return;
      if (!current.runtime) return retry();
      fingerprints.next(current.fingerprint);
    });
  };
  if (!current.runtime) retry();
  scope.defer('retry of the probe', () => cancel());

  let environment: Promise<VmEnvironment> | undefined;
  let purged = false;
  const begin = async (): Promise<VmEnvironment> => {
    // The probe also makes the parents of the control groups, which a purge removes.
    if (purged) current = await probe();
    purged = false;
    const { host, runtime, fingerprint } = current;
    if (!host || !runtime || !('carrier' in runtime)) {
      const { reason, remedy } = fingerprint as GuestFingerprint & { available: false };
      throw new CloudosError('RUNTIME_UNAVAILABLE', reason, { remedy });
    }
    await host.store.prepare();
    await host.store.sweep(clock.now());
    const made = { store: host.store, carrier: runtime.carrier, flavour: runtime.flavour };
    await networkOf(host)?.sweep(name, new Set(await host.store.names()));
    if (scope.closed) return made;
    await watch.begin(made);
    for (const vm of await runningVms(made)) {
      health.watch(made, vm);
      await endInterruptedSnapshot(made, vm).catch((error: unknown) =>
        logger.warn(`${vm.name} was held for a snapshot and does not go on: ${messageOf(error)}`),
      );
    }
    return made;
  };
  const source = () => {
    environment ??= begin().catch((error: unknown) => {
      environment = undefined;
      throw error;
    });
    return environment;
  };
  if (current.runtime) await source();
  const bridge = current.host && networkOf(current.host);
  return new VmDriver({
    runtime: name,
    fingerprints,
    environment: source,
    forget: () => {
      environment = undefined;
      purged = true;
    },
    watch,
    health,
    settings: {
      ...(bridge ? { bridge } : {}),
      ...(process.geteuid?.() === 0 ? { user: config.user } : {}),
      startTimeoutMs: config.startTimeoutMs,
    },
  });
}

function networkOf({ bridge, context, config }: VmHost): NodeNetwork | undefined {
  if (!bridge) return undefined;
  const { bridge: link, subnet } = config.network;
  return new NodeNetwork({ stateDir: context.stateDir, node: context.node?.id ?? 'local', bridge: link, subnet });
}

async function find(
  runtime: string,
  context: PluginContext,
  config: VmConfig,
  make: (host: VmHost) => Promise<VmRuntime>,
): Promise<Found> {
  const absent = (reason: string, remedy: string): Found => ({
    fingerprint: { available: false, runtime, reason, remedy },
  });
  if (process.platform !== 'linux') return absent('virtual machines need Linux', 'run on Linux');
  const qemu = await findQemu();
  if (!qemu) return absent('QEMU is not installed', 'apt-get install qemu-system-x86');
  const obstacle = config.network.mode === 'ports' ? undefined : NodeNetwork.obstacle();
  if (config.network.mode === 'bridge' && obstacle) return absent(obstacle.reason, obstacle.remedy);
  const accelerator = await accelerate(qemu.path, context.dataDir, config.accelerator);
  if (config.accelerator === 'kvm' && accelerator.accelerator !== 'kvm') {
    return absent(accelerator.reason, 'set accelerator to auto or tcg');
  }
  const root = process.geteuid?.() === 0;
  const layout = findControlGroups({
    mounts: await readFile('/proc/self/mounts', 'utf8'),
    self: await readFile('/proc/self/cgroup', 'utf8'),
    root,
    name: `cloudos-${digest(context.dataDir, 10)}`,
  });
  const host: VmHost = {
    qemu,
    accelerator,
    groups: new ControlGroups(layout),
    rootless: !root,
    bridge: config.network.mode !== 'ports' && !obstacle,
    store: new VmStore(context.dataDir),
    context,
    config,
  };
  const made = await make(host);
  if (!('carrier' in made)) return absent(made.reason, made.remedy);
  return { host, runtime: made, fingerprint: describe(runtime, host, made, obstacle) };
}

function accelerate(qemu: string, dataDir: string, wanted: 'auto' | Accelerator): Promise<AcceleratorChoice> {
  if (wanted === 'tcg') return Promise.resolve({ accelerator: 'tcg', reason: 'the configuration says so' });
  return chooseAccelerator(qemu, dataDir);
}

function describe(
  runtime: string,
  host: VmHost,
  made: VmRuntime & { features: object; warnings: Warnings },
  obstacle: { reason: string; remedy: string } | undefined,
): GuestFingerprint {
  const { accelerator, reason } = host.accelerator;
  const warnings = [...made.warnings];
  if (accelerator === 'tcg') {
    warnings.push({
      reason: `guests are emulated, some ten times slower than the processor: ${reason}`,
      remedy: 'use a machine on which /dev/kvm works (bare metal, or nested virtualization)',
    });
  }
  if (!host.bridge) {
    warnings.push({
      reason: 'guests have no address of their own: their TCP ports are forwarded on 127.0.0.1, and they reach nobody',
      remedy: obstacle?.remedy ?? 'set network.mode to auto',
    });
  }
  return {
    available: true,
    runtime,
    version: host.qemu.version,
    features: {
      accelerator,
      acceleratorProbe: reason,
      rootless: host.rootless,
      network: host.bridge ? 'bridge' : 'ports',
      guestNetwork: host.bridge,
      cpuLimit: host.groups.holds('cpu'),
      logsSince: host.store.logger !== undefined,
      ...made.features,
    },
    warnings,
  };
}
