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
import { definePlugin, type PluginContext } from '@cloudos/sdk';
import { z } from 'zod';
import { VmTemplates } from './template.ts';
import { VmGuestFlavour } from './vm.flavour.ts';
import { memoryMinBytes } from './vm-spec.ts';

const gibibyte = 2 ** 30;

export const vmGuestConfig = z.strictObject({
  ...vmConfigShape,
  /** Directories of the node; guests may mount what lies in them. */
  hostPaths: z.array(z.string().startsWith('/', 'an absolute path')).max(100).default([]),
  /** How long the start of a guest may take: complete systems boot for a minute where they are emulated. */
  startTimeoutMs: z.int().min(100).max(600_000).default(180_000),
  /** Memory of a guest without a limit. */
  memoryBytes: z
    .int()
    .min(memoryMinBytes)
    .max(256 * gibibyte)
    .default(512 * 2 ** 20),
  /** Size of the disk of a guest without a limit; takes room as it is written. */
  diskBytes: z
    .int()
    .min(2 ** 20)
    .max(64 * 1024 * gibibyte)
    .default(8 * gibibyte),
  /** Processors of a guest; it gets more where its processor limit is more. */
  vcpus: z.int().min(1).max(64).default(1),
  cloudInit: z
    .strictObject({
      /** Public keys that may log in, in the form of `authorized_keys`. */
      sshKeys: z
        .array(z.string().regex(/^\S+ \S+/, 'a line of authorized_keys'))
        .max(64)
        .default([]),
      /** User data of every guest, as it is: `#cloud-config` or another form that cloud-init knows. */
      userData: z.string().max(65_536).optional(),
    })
    .prefault({}),
});
export type VmGuestConfig = z.infer<typeof vmGuestConfig>;

/** A complete Linux image in a virtual machine, set up by cloud-init. */
export const guestVm = definePlugin({
  name: 'guest-vm',
  slot: 'guest',
  apiVersion: 1,
  description: 'A complete Linux image in a virtual machine: a disk, a NoCloud seed, a serial console',
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
  },
  config: vmGuestConfig,
  create: (context: PluginContext, config: VmGuestConfig): Promise<VmDriver> =>
    createVmDriver('vm', context, config, (host) => makeRuntime(host, config)),
});

const tools = { 'qemu-img': 'qemu-utils', genisoimage: 'genisoimage' } as const;

async function makeRuntime(host: VmHost, config: VmGuestConfig): Promise<VmRuntime> {
  for (const [tool, debianPackage] of Object.entries(tools)) {
    if (!findTool(tool)) return { reason: `${tool} is missing`, remedy: `apt-get install ${debianPackage}` };
  }
  const obstacle = buildObstacle();
  if (obstacle) return obstacle;
  const { stateDir, dataDir } = host.context;
  const images = new VmImages(ImageStore.of(stateDir), 'vm', host.context);
  await images.sweep(await host.store.names());
  const { sshKeys, userData } = config.cloudInit;
  const seed = { agent: await buildAgent(join(dataDir, 'agent'), 'service'), sshKeys, userData };
  const templates = new VmTemplates({
    qemu: host.qemu,
    withoutPrivileges: (command) => withoutPrivileges(host, command),
    ...(host.rootless ? {} : { user: config.user }),
    seed,
    directory: join(dataDir, 'templates'),
    startTimeoutMs: config.startTimeoutMs,
  });
  const flavour = new VmGuestFlavour({
    accelerator: host.accelerator.accelerator,
    images,
    stateDir,
    hostPaths: config.hostPaths,
    seed,
    templates,
    memoryBytes: config.memoryBytes,
    diskBytes: config.diskBytes,
    vcpus: config.vcpus,
    startTimeoutMs: config.startTimeoutMs,
  });
  const features = {
    carrier: 'bare',
    memoryMinBytes,
    memoryLimit: true,
    pidsLimit: true,
    diskLimit: true,
    pause: true,
    mounts: mountsObstacle() === undefined,
    cloudInit: 'NoCloud',
  };
  return { flavour, carrier: bareCarrier(host), features, warnings: [] };
}
