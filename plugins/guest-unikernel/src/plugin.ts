import { resolveEnvironment } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { createVmDriver, type VmDriver, type VmHost, VmImages, type VmRuntime, vmConfigShape } from '@cloudos/qemu';
import { definePlugin, type PluginContext } from '@cloudos/sdk';
import { z } from 'zod';
import { chooseCarrier } from './carriers.ts';
import { UnikernelFlavour } from './unikernel.flavour.ts';

export const unikernelConfig = z.strictObject({
  ...vmConfigShape,
  /** What QEMU runs in: `auto` is a container of the engine, else one of runc's, else a process of the host. */
  carrier: z.enum(['auto', 'docker', 'runc', 'bare']).default('auto'),
  docker: z
    .strictObject({
      /** Of the Docker Engine. */
      socket: z.string().startsWith('/').default('/var/run/docker.sock'),
    })
    .prefault({}),
  /** Memory of a unikernel without a limit. */
  memoryBytes: z
    .int()
    .min(2 * 2 ** 20)
    .max(3 * 2 ** 30)
    .default(16 * 2 ** 20),
});
export type UnikernelConfig = z.infer<typeof unikernelConfig>;

/** Unikernels: an application linked with a library OS, as a virtual machine inside of a container. */
export const guestUnikernel = definePlugin({
  name: 'guest-unikernel',
  slot: 'guest',
  apiVersion: 1,
  description: 'Unikernels (ELF with a PVH entry) on QEMU inside of a container without capabilities',
  supports: {
    adopt: true,
    exec: false,
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
    commandCheck: false,
    imageCheck: true,
    imageDigest: true,
    memoryLimit: true,
    cpuLimit: true,
    pidsLimit: false,
    secrets: true,
  },
  config: unikernelConfig,
  create: (context: PluginContext, config: UnikernelConfig): Promise<VmDriver> =>
    createVmDriver('unikernel', context, config, (host) => makeRuntime(host, config)),
});

async function makeRuntime(host: VmHost, config: UnikernelConfig): Promise<VmRuntime> {
  const { stateDir } = host.context;
  const images = new VmImages(ImageStore.of(stateDir), 'unikernel', host.context);
  await images.sweep(await host.store.names());
  const flavour = new UnikernelFlavour({
    accelerator: host.accelerator.accelerator,
    memoryBytes: config.memoryBytes,
    images,
    environment: ({ template }) => resolveEnvironment(stateDir, template.env),
  });
  const chosen = await chooseCarrier(host, { carrier: config.carrier, socket: config.docker.socket });
  if (!('carrier' in chosen)) return chosen;
  const { carrier, warnings } = chosen;
  return { flavour, carrier, features: { carrier: carrier.kind, memoryLimit: true, pause: true }, warnings };
}
