import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { CloudosError } from '@cloudos/sdk';
import { pvhObstacle } from './elf.ts';
import type { UnikernelImage } from './unikernel.flavour.ts';

/** Finds a unikernel. @throws CloudosError IMAGE_NOT_FOUND, IMAGE_UNSUITABLE */
export async function unikernelImage(stateDir: string, reference: string): Promise<UnikernelImage> {
  const path = reference.startsWith('file:') ? reference.slice(5) : undefined;
  if (path === undefined)
    throw new CloudosError('IMAGE_NOT_FOUND', `there is no image ${reference} in ${stateDir}/images`);
  const obstacle = await pvhObstacle(path);
  if (obstacle) throw new CloudosError('IMAGE_UNSUITABLE', `${reference} cannot be booted: ${obstacle}`);
  return {
    digest: createHash('sha256')
      .update(await readFile(path))
      .digest('hex'),
    path,
    command: [],
  };
}
