import { join } from 'node:path';
import { DaemonWatch, digest, GuestRecords, guestName } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { NodeNetwork } from '@cloudos/node-network';
import { definePlugin, type GuestFingerprint, type PluginContext } from '@cloudos/sdk';
import { sharedSocket } from './daemon-flavour.ts';
import { GuestFiles } from './guest-files.ts';
import { GuestMounts } from './guest-mounts.ts';
import type { GuestRecord } from './guest-record.ts';
import { prepareTools } from './guest-tools.ts';
import { LxdDriver } from './lxd.driver.ts';
import { daemonRemedy, LxdClient } from './lxd-client.ts';
import { LxdEvents } from './lxd-events.ts';
import { holderOf, LxdImages } from './lxd-images.ts';
import { type LxdConfig, lxdConfig } from './options.ts';
import { describeDaemon, OwnDaemon } from './own-daemon.ts';
import { StoragePool } from './storage-pool.ts';

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
  const { scope, dataDir, stateDir } = context;
  const { daemonTimeoutMs, logMaxBytes, profiles } = config;
  const own = config.daemon === 'own' ? new OwnDaemon({ dataDir, ...config }) : undefined;
  const client = new LxdClient(own?.socket ?? config.socket ?? sharedSocket(config.flavour), daemonTimeoutMs);
  const mounts = new GuestMounts(dataDir, config.hostPaths);
  const pool = new StoragePool(client, config.pool);
  const owner = digest(dataDir, 16);
  const node = context.node?.id ?? 'local';
  const store = ImageStore.of(stateDir);
  const network = NodeNetwork.obstacle() ? undefined : new NodeNetwork({ stateDir, node });
  const records = new GuestRecords<GuestRecord>(join(dataDir, 'guests'));
  await sweep(records, store, node, network);

  const watch = await DaemonWatch.open<Server>(context, {
    runtime: 'lxd',
    name: 'the daemon of LXD or Incus',
    retryMs: config.retryMs,
    own,
    timeoutMs: daemonTimeoutMs,
    ask: () => client.get<Server>('/1.0'),
    describe: (server) => describe(server, pool),
    remedy: daemonRemedy,
    events: new LxdEvents(client, context.logger),
  });
  const images = new LxdImages(client, store, node);
  const driver = new LxdDriver({
    fingerprints: watch.fingerprints,
    environment: async () => {
      await watch.facts();
      const files = new GuestFiles(dataDir, await prepareTools(dataDir), logMaxBytes);
      return { client, images, files, mounts, network, owner, stateDir, pool, profiles };
    },
    records,
    purged: async () => {
      watch.forget();
      images.forget();
      await own?.remove();
    },
  });
  scope.defer('exits', () => driver.close());
  await watch.follow(driver);
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

async function describe({ environment }: Server, pool: StoragePool): Promise<GuestFingerprint> {
  const { server, server_version: version, storage } = environment;
  return describeDaemon(version, await pool.obstacle(), { server, storage });
}
