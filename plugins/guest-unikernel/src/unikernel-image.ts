import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { VmImages } from '@cloudos/qemu';
import { CloudosError } from '@cloudos/sdk';
import { pvhObstacle } from './elf.ts';

/** Annotation of a manifest: how the unikernel is told about itself (see `commandLine`). */
export const argumentsAnnotation = 'io.cloudos.unikernel.arguments';
/** Annotation of a manifest: words of its command line, where the template gives no command. */
export const commandAnnotation = 'io.cloudos.unikernel.command';

/** A unikernel in the image store. */
export interface FoundUnikernel {
  readonly digest: string;
  readonly elf: string;
  readonly command: readonly string[];
  readonly arguments?: string;
}

/** @throws CloudosError IMAGE_NOT_FOUND, IMAGE_CORRUPT, IMAGE_UNSUITABLE */
export async function findUnikernel(images: VmImages, reference: string): Promise<FoundUnikernel> {
  const image = await images.find(reference, 'unikernel', 'a unikernel');
  const { annotations = {} } = image.manifest;
  const told = annotations[argumentsAnnotation];
  return {
    digest: image.digest,
    elf: image.elf.digest,
    command: (annotations[commandAnnotation] ?? '').split(' ').filter(Boolean),
    ...(told === undefined ? {} : { arguments: told }),
  };
}

/** Writes the ELF file, checked against its digest. @throws CloudosError IMAGE_CORRUPT, IMAGE_UNSUITABLE */
export async function writeUnikernel(images: VmImages, { digest, elf }: FoundUnikernel, path: string): Promise<void> {
  if (!images.store.blobs.has(elf)) await images.store.blobs.verify(elf);
  await pipeline(images.store.blobs.stream(elf), createWriteStream(path, { mode: 0o644 }));
  const obstacle = await pvhObstacle(path);
  if (obstacle) throw new CloudosError('IMAGE_UNSUITABLE', `the image ${digest} cannot be booted: ${obstacle}`);
}
