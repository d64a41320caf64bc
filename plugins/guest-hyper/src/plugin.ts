import { join } from 'node:path';
import { findTool } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import {
  bareCarrier,
  buildAgent,
  buildObstacle,
  createVmDriver,
  mountsObstacle,
  type VmDriver,
  type VmHost,
  VmImages,
  type VmRuntime,
  vmConfigShape,
  withoutPrivileges,
} from '@cloudos/qemu';
import { definePlugin, guestContainersMax, type PluginContext } from '@cloudos/sdk';
import { z } from 'zod';
import { HyperFlavour, memoryMinBytes } from './hyper.flavour.ts';
import { findKernel } from './linux-kernel.ts';

export const hyperConfig = z.strictObject({
  ...vmConfigShape,
  /** Directories of the node; guests may mount what lies in them. */
  hostPaths: z.array(z.string().startsWith('/', 'an absolute path')).max(100).default([]),
  /** Memory of a guest without a limit. */
  memoryBytes: z
    .int()
    .min(memoryMinBytes)
    .max(64 * 2 ** 30)
    .default(128 * 2 ** 20),
});
export type HyperConfig = z.infer<typeof hyperConfig>;

/** A container image in a tiny virtual machine of its own: a Linux kernel and a small agent, nothing else. */
export const guestHyper = definePlugin({
  name: 'guest-hyper',
  slot: 'guest',
  apiVersion: 1,
  description: 'A container image in a tiny virtual machine of its own, cloned from one that has booted already',
  supports: {
    adopt: true,
    exec: true,
    tty: true,
    logs: true,
    logsSince: true,
    stats: true,
    pause: true,
    snapshot: true,
    snapshotMemory: true,
    export: true,
    network: true,
    guestNetwork: true,
    signals: false,
    commandCheck: true,
    imageCheck: true,
    imageDigest: true,
    memoryLimit: true,
    cpuLimit: true,
    pidsLimit: true,
    diskLimit: true,
    readOnlyRoot: true,
    mounts: true,
    secrets: true,
    pods: true,
  },
  config: hyperConfig,
  create: (context: PluginContext, config: HyperConfig): Promise<VmDriver> =>
    createVmDriver('hyper', context, config, (host) => makeRuntime(host, config)),
});

async function makeRuntime(host: VmHost, config: HyperConfig): Promise<VmRuntime> {
  const kernel = findKernel();
  if (!kernel) {
    return { reason: 'no kernel for clouds is installed', remedy: 'apt-get install linux-image-cloud-amd64' };
  }
  if (!findTool('mksquashfs')) return { reason: 'mksquashfs is missing', remedy: 'apt-get install squashfs-tools' };
  const obstacle = buildObstacle();
  if (obstacle) return obstacle;
  const { stateDir, dataDir } = host.context;
  const directory = join(dataDir, 'templates');
  const images = new VmImages(ImageStore.of(stateDir), 'hyper', host.context);
  await images.sweep(await host.store.names());
  const flavour = new HyperFlavour({
    parts: {
      qemu: host.qemu.path,
      qemuVersion: host.qemu.version,
      accelerator: host.accelerator.accelerator,
      kernel,
      agent: await buildAgent(directory),
      directory,
      withoutPrivileges: (command) => withoutPrivileges(host, command),
      ...(host.rootless ? {} : { user: config.user }),
    },
    images,
    stateDir,
    hostPaths: config.hostPaths,
    memoryBytes: config.memoryBytes,
  });
  const withoutMounts = mountsObstacle();
  const features = {
    carrier: 'bare',
    kernel: kernel.version,
    memoryMinBytes,
    memoryLimit: true,
    pidsLimit: true,
    diskLimit: true,
    pause: true,
    mounts: withoutMounts === undefined,
    containersPerGuest: guestContainersMax,
  };
  return { flavour, carrier: bareCarrier(host), features, warnings: [] };
}
