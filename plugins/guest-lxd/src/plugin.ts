import { join } from 'node:path';
import { DaemonLink, digest, findTool, GuestRecords, guestName } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { NodeNetwork } from '@cloudos/node-network';
import { type CloudosError, definePlugin, type GuestFingerprint, messageOf, type PluginContext } from '@cloudos/sdk';
import { BehaviorSubject } from 'rxjs';
import { sharedSocket } from './daemon-flavour.ts';
import { GuestFiles } from './guest-files.ts';
import { GuestMounts } from './guest-mounts.ts';
import type { GuestRecord } from './guest-record.ts';
import { prepareTools } from './guest-tools.ts';
import type { LxdEnvironment } from './instance-life.ts';
import { LxdDriver } from './lxd.driver.ts';
import { daemonRemedy, LxdClient } from './lxd-client.ts';
import { LxdEvents } from './lxd-events.ts';
import { holderOf, LxdImages } from './lxd-images.ts';
import { type LxdConfig, lxdConfig } from './options.ts';
import { OwnDaemon } from './own-daemon.ts';
import { poolRemedy, StoragePool } from './storage-pool.ts';

/** System containers: whole machines with an init of their own, or a program with a userland around it. */
export const guestLxd = definePlugin({
  name: 'guest-lxd',
  slot: 'guest',
  apiVersion: 1,
  description: 'System containers on an LXD or Incus daemon, shared or of the node alone',
  supports: {
    adopt: true,
    exec: true,
    tty: true,
    logs: true,
    logsSince: true,
    stats: true,
    pause: true,
    resize: true,
    snapshot: true,
    snapshotMemory: false,
    export: true,
    network: true,
    guestNetwork: true,
    signals: true,
    commandCheck: true,
    imageCheck: true,
    imageDigest: true,
    memoryLimit: true,
    cpuLimit: true,
    pidsLimit: true,
    diskLimit: true,
    readOnlyRoot: false,
    mounts: true,
    secrets: true,
    unprivileged: false,
  },
  config: lxdConfig,
  alternatives: [{ daemon: 'own' }],
  create: createLxd,
});

/** What the daemon says of itself. */
interface Server {
  readonly environment: {
    readonly server: string;
    readonly server_version: string;
    readonly kernel_features?: Readonly<Record<string, string>>;
    readonly storage: string;
  };
}

async function createLxd(context: PluginContext, config: LxdConfig): Promise<LxdDriver> {
  const { scope, clock, logger, dataDir, stateDir } = context;
  const own = config.daemon === 'own' ? new OwnDaemon({ dataDir, ...config }) : undefined;
  const socket = own?.socket ?? config.socket ?? sharedSocket(config.flavour);
  const client = new LxdClient(socket, config.daemonTimeoutMs);
  const mounts = new GuestMounts(dataDir, config.hostPaths);
  const pool = new StoragePool(client, config.pool);
  const owner = digest(dataDir, 16);
  const node = context.node?.id ?? 'local';
  const store = ImageStore.of(stateDir);
  const network = NodeNetwork.obstacle() ? undefined : new NodeNetwork({ stateDir, node });
  const records = new GuestRecords<GuestRecord>(join(dataDir, 'guests'));
  await sweep(records, store, node, network);

  const wake = async () => own?.ensure(config.daemonTimeoutMs);
  const ask = async (): Promise<Server> => {
    await wake();
    return client.get<Server>('/1.0');
  };
  // An own daemon that does not run is started with the first guest, not to find out what it could do.
  const isAsleep = () => own !== undefined && !own.isRunning;
  const look = () => (own && isAsleep() ? sleepingFingerprint(own) : fingerprintOf(ask, pool));
  const fingerprints = new BehaviorSubject(await look());
  scope.defer('fingerprint', () => fingerprints.complete());

  const images = new LxdImages(client, store, node);
  const events = new LxdEvents(client, logger);
  const link = new DaemonLink({
    name: 'the daemon of LXD or Incus',
    clock,
    logger,
    retryMs: config.retryMs,
    wake,
    connect: (signal, lost) => events.connect(signal, lost),
  });
  let reached = false;
  const environment = async (): Promise<LxdEnvironment> => {
    if (!reached || isAsleep()) {
      await ask();
      reached = true;
      if (!scope.closed) await link.begin();
    }
    const files = new GuestFiles(dataDir, await prepareTools(dataDir), config.logMaxBytes);
    const { profiles } = config;
    return { client, images, files, mounts, network, owner, stateDir, pool, profiles };
  };
  const driver = new LxdDriver({
    fingerprints,
    environment,
    records,
    purged: async () => {
      link.end();
      reached = false;
      images.forget();
      await own?.remove();
    },
  });
  scope.defer('exits', () => driver.close());

  const attempt = (what: string, call: () => Promise<void>) =>
    void call().catch((error: unknown) => logger.warn(`${what}: ${messageOf(error)}`));
  const ended = events.ended.subscribe((name) => attempt(name, () => driver.look(name)));
  const connected = link.connected.subscribe((isConnected) => {
    if (isConnected) attempt('looking at all instances', () => driver.lookAtAll());
    attempt('fingerprint', async () => {
      const print = await (isConnected ? look() : fingerprintOf(() => client.get<Server>('/1.0'), pool));
      if (!scope.closed) fingerprints.next(print);
    });
  });
  scope.defer('link to the daemon', () => {
    ended.unsubscribe();
    connected.unsubscribe();
    link.end();
  });
  if (!isAsleep()) await link.begin();
  return driver;
}

/** Gives back what was claimed for guests that a crash kept from being written down. */
async function sweep(
  records: GuestRecords<GuestRecord>,
  store: ImageStore,
  node: string,
  network: NodeNetwork | undefined,
): Promise<void> {
  const instances = (await records.all()).map(({ spec }) => spec.instance);
  await store.sweepHolds(holderOf(node, ''), new Set(instances.map((instance) => holderOf(node, instance))));
  await network?.sweep('lxd', new Set(instances.map((instance) => guestName(instance))));
}

async function sleepingFingerprint(own: OwnDaemon): Promise<GuestFingerprint> {
  try {
    const version = await own.version();
    const lacking = own.diskObstacle();
    const warnings = lacking === undefined ? [] : [{ reason: lacking, remedy: poolRemedy }];
    const features = { server: own.flavour, diskLimit: !lacking, ...logFeatures() };
    return { available: true, runtime: 'lxd', version, features, warnings };
  } catch (error) {
    return unavailable(error);
  }
}

async function fingerprintOf(ask: () => Promise<Server>, pool: StoragePool): Promise<GuestFingerprint> {
  try {
    const { environment } = await ask();
    const lacking = await pool.obstacle();
    const warnings = lacking === undefined ? [] : [{ reason: lacking, remedy: poolRemedy }];
    const features = {
      server: environment.server,
      storage: environment.storage,
      diskLimit: lacking === undefined,
      ...logFeatures(),
    };
    return { available: true, runtime: 'lxd', version: environment.server_version, features, warnings };
  } catch (error) {
    return unavailable(error);
  }
}

function logFeatures(): { logsSince: boolean } {
  return { logsSince: findTool('perl') !== undefined };
}

function unavailable(error: unknown): GuestFingerprint {
  const { remedy } = error as Partial<CloudosError>;
  return {
    available: false,
    runtime: 'lxd',
    reason: messageOf(error),
    remedy: remedy ?? daemonRemedy,
  };
}
