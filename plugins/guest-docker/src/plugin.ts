import { join } from 'node:path';
import { DaemonWatch, digest, GuestRecords, guestName } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { NodeNetwork } from '@cloudos/node-network';
import { definePlugin, type GuestFingerprint, type PluginContext } from '@cloudos/sdk';
import { DiskLimit } from './disk-limit.ts';
import { DockerDriver } from './docker.driver.ts';
import { askEngine, connect, type EngineFacts } from './engine.ts';
import { EngineEvents } from './engine-events.ts';
import { EngineImages, holderOf } from './engine-images.ts';
import { EngineNetwork } from './engine-network.ts';
import type { GuestRecord } from './guest-record.ts';
import { type DockerConfig, dockerConfig } from './options.ts';
import { OwnEngine } from './own-engine.ts';

/** Application containers on a Docker Engine. */
export const guestDocker = definePlugin({
  name: 'guest-docker',
  slot: 'guest',
  apiVersion: 1,
  description: 'Application containers on a Docker Engine, shared or of the node alone',
  supports: {
    adopt: true,
    exec: true,
    tty: true,
    logs: true,
    logsSince: true,
    stats: true,
    pause: true,
    resize: true,
    snapshot: false,
    network: true,
    signals: true,
    commandCheck: true,
    imageCheck: true,
    memoryLimit: true,
    cpuLimit: true,
    pidsLimit: true,
    diskLimit: true,
    readOnlyRoot: true,
    mounts: true,
    secrets: true,
    guestNetwork: true,
    imageDigest: true,
    unprivileged: true,
  },
  config: dockerConfig,
  alternatives: [{ engine: 'own' }],
  create: createDocker,
});

async function createDocker(context: PluginContext, config: DockerConfig): Promise<DockerDriver> {
  const { scope, dataDir, stateDir } = context;
  const node = context.node?.id ?? 'local';
  const bridge = NodeNetwork.obstacle() ? undefined : new NodeNetwork({ stateDir, node });
  const { diskMaxBytes, engineTimeoutMs } = config;
  const own = config.engine === 'own' ? new OwnEngine(dataDir, diskMaxBytes, async () => bridge?.bridge()) : undefined;
  const docker = connect(own?.socket ?? config.socket);
  const disk = new DiskLimit(docker, own);
  const owner = digest(dataDir, 16);
  const store = ImageStore.of(stateDir);
  const images = new EngineImages({ docker, store, node, pull: config.pull });
  const network = bridge && { node: bridge, engine: new EngineNetwork(docker, owner) };

  const records = new GuestRecords<GuestRecord>(join(dataDir, 'guests'));
  await sweep({ records, store, node, network: network?.node });

  const watch = await DaemonWatch.open<EngineFacts>(context, {
    runtime: 'docker',
    name: 'the Docker Engine',
    retryMs: config.retryMs,
    own,
    timeoutMs: engineTimeoutMs,
    ask: () => askEngine(docker, engineTimeoutMs),
    describe: (facts) => describeEngine(facts, disk),
    remedy: 'Install or start a Docker Engine: apt-get install docker.io',
    events: new EngineEvents(docker, owner),
  });
  const { hostPaths, logMaxBytes } = config;
  const driver = new DockerDriver({
    fingerprints: watch.fingerprints,
    environment: async () => {
      const facts = await watch.facts();
      return { docker, facts, disk, images, network, owner, stateDir, hostPaths, logMaxBytes };
    },
    records,
    purged: async (leave) => {
      watch.forget();
      // An own engine goes with all that it has, also when its disk is full and it can change nothing any more.
      if (own) await leave()?.catch(() => {});
      else await leave();
      await own?.remove();
    },
  });
  scope.defer('exits', () => driver.close());
  await watch.follow(driver);
  return driver;
}

/** Gives back what was claimed for guests that a crash kept from being written down. */
async function sweep(parts: {
  records: GuestRecords<GuestRecord>;
  store: ImageStore;
  node: string;
  network: NodeNetwork | undefined;
}): Promise<void> {
  const instances = (await parts.records.all()).map(({ spec }) => spec.instance);
  const holders = new Set(instances.map((instance) => holderOf(parts.node, instance)));
  await parts.store.sweepHolds(holderOf(parts.node, ''), holders);
  await parts.network?.sweep('docker', new Set(instances.map((instance) => guestName(instance))));
}

function describeEngine(facts: EngineFacts, disk: DiskLimit): GuestFingerprint {
  const diskObstacle = disk.obstacle(facts);
  const { version, memoryLimit, cpuLimit, pidsLimit, seccomp, storageDriver, cgroupVersion } = facts;
  const warnings = diskObstacle ? [diskObstacle] : [];
  if (!seccomp) {
    warnings.push({
      reason: 'the engine filters no system calls',
      remedy: 'use an engine that was built with seccomp',
    });
  }
  const limits = { memoryLimit, cpuLimit, pidsLimit, diskLimit: diskObstacle === undefined };
  const features = { ...limits, seccomp, storageDriver, cgroupVersion };
  return { available: true, runtime: 'docker', version, features, warnings };
}
