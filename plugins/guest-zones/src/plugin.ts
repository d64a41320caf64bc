import { ControlGroups, digest } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { NodeNetwork, networkConfig } from '@cloudos/node-network';
import { CloudosError, definePlugin, type GuestFingerprint, type PluginContext } from '@cloudos/sdk';
import { BehaviorSubject } from 'rxjs';
import { z } from 'zod';
import { type HostAbilities, probeHost } from './host-probe.ts';
import { smartosConfig } from './smartos/smartos-config.ts';
import { chooseDriver, thisMachine } from './smartos/smartos-probe.ts';
import { createSmartosZones } from './smartos/smartos-zones.ts';
import type { VmadmDriver } from './smartos/vmadm.driver.ts';
import { prepareToolbox, type Toolbox } from './toolbox.ts';
import { prepareUserland } from './userland.ts';
import type { ZoneEnvironment } from './zone-launcher.ts';
import { runtimeName } from './zone-name.ts';
import { ZoneSpawner } from './zone-spawner.ts';
import { ZoneStore } from './zone-state.ts';
import { ZoneWatch } from './zone-watch.ts';
import { ZonesDriver } from './zones.driver.ts';

export const zonesConfig = z.strictObject({
  /** `smartos` makes zones with vmadm, `linux` with what any Linux has; `auto`: what this machine is. */
  driver: z.enum(['auto', 'linux', 'smartos']).default('auto'),
  /** What only the driver `smartos` asks. The settings of the network of Linux mean nothing to it. */
  smartos: smartosConfig.prefault({}),
  network: networkConfig,
  logs: z
    .strictObject({
      /** Of the current file of each stream; one older file of that size is kept beside it. */
      maxBytes: z
        .int()
        .min(64 * 1024)
        .max(2 ** 40)
        .default(10 * 1024 * 1024),
    })
    .prefault({}),
  /** Directories of the node below which guests may mount paths, read-only or not. Default: none. */
  hostPaths: z.array(z.string().regex(/^\//, 'an absolute path')).max(100).default([]),
  /** What launches zones: `auto` is one process for all of them where there are perl, root and overlays, else a script for each. */
  launcher: z.enum(['auto', 'script']).default('auto'),
  /** How long the start of a zone may take. */
  startTimeoutMs: z.int().min(100).max(600_000).default(10_000),
  /** How often all zones are looked at, besides the ends that are announced. */
  pollMs: z.int().min(100).max(600_000).default(2_000),
  /** How often a host that cannot run zones is tried again. */
  retryMs: z.int().min(1_000).max(3_600_000).default(30_000),
});
export type ZonesConfig = z.infer<typeof zonesConfig>;

/**
 * Zones: on Linux containers made of namespaces, control groups and an overlay, with what any host has; on SmartOS its
 * own, by vmadm. `supports` is what either can; what the driver at hand cannot is `false` in the fingerprint.
 */
export const guestZones = definePlugin({
  name: 'guest-zones',
  slot: 'guest',
  apiVersion: 1,
  description: 'Containers without a daemon: namespaces, control groups and an overlay, or the zones of SmartOS',
  supports: {
    adopt: true,
    exec: true,
    tty: true,
    logs: true,
    stats: true,
    pause: true,
    resize: true,
    // With vmadm of SmartOS; on Linux what a zone has written is gone with its run.
    snapshot: true,
    network: true,
    signals: true,
    commandCheck: true,
    imageCheck: true,
    memoryLimit: true,
    cpuLimit: true,
    pidsLimit: true,
    readOnlyRoot: true,
    secrets: true,
    mounts: true,
    diskLimit: true,
    logsSince: true,
    unprivileged: true,
    imageDigest: true,
    guestNetwork: true,
  },
  config: zonesConfig,
  create: (context, config): Promise<ZonesDriver | VmadmDriver> => {
    const machine = thisMachine();
    const isSmartos = chooseDriver(config.driver, machine) === 'smartos';
    return isSmartos ? createSmartosZones(context, config, machine) : createLinuxZones(context, config);
  },
});

async function createLinuxZones(context: PluginContext, config: ZonesConfig): Promise<ZonesDriver> {
  const { scope, clock, logger, dataDir } = context;
  const probe = await probeHost(dataDir, config.network);
  const fingerprints = new BehaviorSubject<GuestFingerprint>(probe.fingerprint);
  scope.defer('fingerprint', () => fingerprints.complete());
  const watch = new ZoneWatch(clock, logger, config.pollMs);
  scope.defer('watch of zones', () => watch.end());

  let current = probe;
  if (!probe.abilities) {
    let cancel = () => {};
    const retry = () => {
      cancel = clock.after(config.retryMs, async () => {
        current = await probeHost(dataDir, config.network).catch(() => current);
        if (scope.closed) return;
        if (!current.abilities) return retry();
        fingerprints.next(current.fingerprint);
      });
    };
    retry();
    scope.defer('retry of the probe', () => cancel());
  }

  let environment: Promise<ZoneEnvironment> | undefined;
  let purged = false;
  const make = async (): Promise<ZoneEnvironment> => {
    // The probe also makes the parents of the control groups, which a purge removes.
    if (purged) current = await probeHost(dataDir, config.network);
    purged = false;
    if (!current.abilities) {
      const { reason, remedy } = current.fingerprint as GuestFingerprint & { available: false };
      throw new CloudosError('RUNTIME_UNAVAILABLE', reason, { remedy });
    }
    const made = await makeEnvironment(current.abilities, config, context);
    if (!scope.closed) await watch.begin(made);
    return made;
  };
  const source = () => {
    environment ??= make().catch((error: unknown) => {
      environment = undefined;
      throw error;
    });
    return environment;
  };
  if (probe.abilities) await source();
  return new ZonesDriver({
    fingerprints,
    environment: source,
    forget: () => {
      environment = undefined;
      purged = true;
    },
    watch,
  });
}

async function makeEnvironment(
  abilities: HostAbilities,
  config: ZonesConfig,
  { dataDir, stateDir, clock, node, scope }: PluginContext,
): Promise<ZoneEnvironment> {
  const store = new ZoneStore(dataDir);
  await store.prepare();
  await store.sweep(clock.now());
  const { bridge, subnet } = config.network;
  const network = abilities.bridge
    ? new NodeNetwork({ stateDir, node: node?.id ?? 'local', bridge, subnet })
    : undefined;
  await network?.sweep(runtimeName, new Set(await store.zones()));
  const images = ImageStore.of(stateDir);
  const holderPrefix = `${runtimeName} ${node?.id ?? 'local'}/`;
  const there = (await store.zones()).map((zone) => `${holderPrefix}${store.state(zone)?.spec.instance}`);
  await images.sweepHolds(holderPrefix, new Set(there));
  const toolbox = await prepareToolbox(dataDir);
  const spawner = config.launcher === 'auto' ? spawnerFor(abilities, toolbox, dataDir) : undefined;
  if (spawner && !scope.closed) scope.defer('spawner of zones', () => spawner.close());
  return {
    dataDir,
    stateDir,
    toolbox,
    spawner,
    images,
    hostPaths: config.hostPaths,
    holderPrefix,
    store,
    abilities,
    groups: new ControlGroups(abilities.groups),
    userland: await prepareUserland({ dataDir, root: !abilities.rootless, mountInfo: abilities.mountInfo }),
    network,
    logMaxBytes: config.logs.maxBytes,
    startTimeoutMs: config.startTimeoutMs,
  };
}

/** Zones in user namespaces, and those without an overlay, are launched by scripts. */
function spawnerFor(abilities: HostAbilities, { spawner }: Toolbox, dataDir: string): ZoneSpawner | undefined {
  if (abilities.rootless || !abilities.overlay || !spawner || dataDir.includes('\n')) return undefined;
  return new ZoneSpawner(spawner, `cloudos zones ${digest(dataDir, 10)}`);
}
