import { existsSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest } from '@cloudos/host-tools';
import { acceleratorArguments, kernelArguments } from './boot-arguments.ts';
import { hardware, rootDisk } from './hardware.ts';
import { initramfs } from './initramfs.ts';
import type { HyperParts } from './template.ts';

/** A machine that boots, but for its chardevs. */
export interface ColdMachine {
  readonly args: readonly string[];
  /** Disks, kernel and initial file system, in the order of their descriptors in `args`. */
  readonly files: readonly string[];
}

/**
 * A machine with mounts boots by itself instead of being cloned: QEMU 7.2 loads no state into a machine with a device
 * of vhost-user-fs ("State blocked by non-migratable device"), whether it was touched or not.
 * @param disks the roots of its containers
 */
export async function coldMachine(
  parts: HyperParts,
  memoryMiB: number,
  disks: readonly string[],
): Promise<ColdMachine> {
  const { kernel, agent, directory, accelerator } = parts;
  const initrd = join(directory, `initrd-${digest(`${agent} ${kernel.modules.join(' ')}`, 16)}`);
  if (!existsSync(initrd)) {
    const half = `${initrd}.new-${process.pid}`;
    await writeFile(half, await initramfs(agent, kernel.modules), { mode: 0o644 });
    await rename(half, initrd);
  }
  const at = (index: number) => `/dev/fd/${3 + index}`;
  const line = `${kernelArguments} ${await acceleratorArguments(accelerator)}`;
  return {
    args: [
      ...disks.flatMap((_, index) => rootDisk(at(index), index)),
      ...hardware(accelerator, memoryMiB, disks.length - 1, undefined, true),
      ...['-kernel', at(disks.length), '-initrd', at(disks.length + 1), '-append', line],
      ...['-device', 'vhost-user-fs-device,chardev=fs,tag=fs'],
    ],
    files: [...disks, kernel.image, initrd],
  };
}
