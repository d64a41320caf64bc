import { join } from 'node:path';
import { DaemonLink, digest, GuestRecords, guestName } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { NodeNetwork } from '@cloudos/node-network';
import { type CloudosError, definePlugin, type GuestFingerprint, messageOf, type PluginContext } from '@cloudos/sdk';
import { BehaviorSubject } from 'rxjs';
import type { DockerEnvironment } from './container-runs.ts';
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
  const { scope, clock, logger, dataDir, stateDir } = context;
  const node = context.node?.id ?? 'local';
  const bridge = NodeNetwork.obstacle() ? undefined : new NodeNetwork({ stateDir, node });
  const own =
    config.engine === 'own' ? new OwnEngine(dataDir, config.diskMaxBytes, async () => bridge?.bridge()) : undefined;
  const docker = connect(own?.socket ?? config.socket);
  const disk = new DiskLimit(docker, own);
  const owner = digest(dataDir, 16);
  const store = ImageStore.of(stateDir);
  const images = new EngineImages({ docker, store, node, pull: config.pull });
  const network = bridge && { node: bridge, engine: new EngineNetwork(docker, owner) };

  const records = new GuestRecords<GuestRecord>(join(dataDir, 'guests'));
  await sweep({ records, store, node, network: network?.node });

  const ask = async (): Promise<EngineFacts> => {
    await own?.ensure(config.engineTimeoutMs);
    return askEngine(docker, config.engineTimeoutMs);
  };
  // An own engine that does not run is started with the first guest, not to find out what it could do.
  const isAsleep = () => own !== undefined && !own.isRunning;
  const look = async () => (own && isAsleep() ? sleepingFingerprint(own) : fingerprintOf(ask, disk));
  const fingerprints = new BehaviorSubject(await look());
  scope.defer('fingerprint', () => fingerprints.complete());

  let facts: EngineFacts | undefined;
  const environment = async (): Promise<DockerEnvironment> => {
    if (!facts || isAsleep()) {
      facts = await ask();
      if (!scope.closed) await link.begin();
    }
    const { hostPaths, logMaxBytes } = config;
    return { docker, facts, disk, images, network, owner, stateDir, hostPaths, logMaxBytes };
  };
  const wake = async () => own?.ensure(config.engineTimeoutMs);
  const events = new EngineEvents(docker, owner);
  const link = new DaemonLink({
    name: 'the Docker Engine',
    clock,
    logger,
    retryMs: config.retryMs,
    wake,
    connect: (signal, lost) => events.connect(signal, lost),
  });
  const driver = new DockerDriver({
    fingerprints,
    environment,
    records,
    purged: async (leave) => {
      link.end();
      facts = undefined;
      // An own engine goes with all that it has, also when its disk is full and it can change nothing any more.
      if (own) await leave()?.catch(() => {});
      else await leave();
      await own?.remove();
    },
  });
  scope.defer('exits', () => driver.close());

  const attempt = (what: string, call: () => Promise<void>) =>
    void call().catch((error: unknown) => logger.warn(`${what}: ${messageOf(error)}`));
  const ended = events.ended.subscribe((instance) => attempt(instance, () => driver.look(instance)));
  const connected = link.connected.subscribe((isConnected) => {
    if (isConnected) attempt('looking at all containers', () => driver.lookAtAll());
    else facts = undefined;
    attempt('fingerprint', async () => {
      const print = await (isConnected ? look() : fingerprintOf(() => askEngine(docker, config.engineTimeoutMs), disk));
      if (!scope.closed) fingerprints.next(print);
    });
  });
  scope.defer('link to the engine', () => {
    ended.unsubscribe();
    connected.unsubscribe();
    link.end();
  });
  if (!isAsleep()) await link.begin();
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

/** What can be said of an engine that was not started yet. */
async function sleepingFingerprint(own: OwnEngine): Promise<GuestFingerprint> {
  try {
    const version = await own.version();
    const lacking = own.diskObstacle();
    const warnings = lacking ? [{ ...lacking, reason: `a disk limit cannot be kept: ${lacking.reason}` }] : [];
    return { available: true, runtime: 'docker', version, features: { diskLimit: !lacking }, warnings };
  } catch (error) {
    return unavailable(error);
  }
}

async function fingerprintOf(ask: () => Promise<EngineFacts>, disk: DiskLimit): Promise<GuestFingerprint> {
  try {
    const facts = await ask();
    const diskObstacle = disk.obstacle(facts);
    return {
      available: true,
      runtime: 'docker',
      version: facts.version,
      features: {
        memoryLimit: facts.memoryLimit,
        cpuLimit: facts.cpuLimit,
        pidsLimit: facts.pidsLimit,
        diskLimit: diskObstacle === undefined,
        seccomp: facts.seccomp,
        storageDriver: facts.storageDriver,
        cgroupVersion: facts.cgroupVersion,
      },
      warnings: [...(diskObstacle ? [diskObstacle] : []), ...warningsOf(facts)],
    };
  } catch (error) {
    return unavailable(error);
  }
}

function unavailable(error: unknown): GuestFingerprint {
  const { remedy } = error as Partial<CloudosError>;
  return {
    available: false,
    runtime: 'docker',
    reason: messageOf(error),
    remedy: remedy ?? 'Install or start a Docker Engine: apt-get install docker.io',
  };
}

function warningsOf(facts: EngineFacts): { reason: string; remedy: string }[] {
  const warnings = [];
  if (!facts.seccomp) {
    warnings.push({
      reason: 'the engine filters no system calls',
      remedy: 'use an engine that was built with seccomp',
    });
  }
  return warnings;
}
