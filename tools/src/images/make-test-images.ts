import { ImageStore, type StoredImage } from '@cloudos/images';
import {
  counterImage,
  obstacleToTestImages,
  obstacleToVmImage,
  shellImage,
  vmDiskImage,
  vmImage,
} from '@cloudos/test-images';

/**
 * Makes `counter:1` and `shell:1` in the store of that directory, and with `vm` a small Linux for virtual machines, which needs root and
 * the archive of Debian's packages. @throws Error with the command that installs what is missing
 */
export async function makeTestImages(directory: string, { vm = false } = {}): Promise<StoredImage[]> {
  const obstacle = obstacleToTestImages() ?? (vm ? obstacleToVmImage() : undefined);
  if (obstacle !== undefined) throw new Error(obstacle);
  const store = new ImageStore(directory);
  return [
    await counterImage(store),
    await shellImage(store),
    ...(vm ? [await vmImage(store), await vmDiskImage(store)] : []),
  ];
}
