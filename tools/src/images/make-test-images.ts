import { ImageStore, type StoredImage } from '@cloudos/images';
import {
  cloudImage,
  counterImage,
  obstacleToTestImages,
  obstacleToVmImage,
  shellImage,
  vmDiskImage,
  vmImage,
} from '@cloudos/test-images';

/**
 * Makes `counter:1` and `shell:1` in the store of that directory. With `vm` a small Linux for virtual machines too (`vm:1`,
 * `vm-disk:1`), with `cloud` a Debian that cloud-init sets up (`cloud:1`): they need root and the archive of Debian's packages.
 * @throws Error with the command that installs what is missing
 */
export async function makeTestImages(
  directory: string,
  { vm = false, cloud = false } = {},
): Promise<readonly StoredImage[]> {
  const obstacle = obstacleToTestImages() ?? (vm || cloud ? obstacleToVmImage() : undefined);
  if (obstacle !== undefined) throw new Error(obstacle);
  const store = new ImageStore(directory);
  return [
    await counterImage(store),
    await shellImage(store),
    ...(vm ? [await vmImage(store), await vmDiskImage(store)] : []),
    ...(cloud ? [await cloudImage(store)] : []),
  ];
}
