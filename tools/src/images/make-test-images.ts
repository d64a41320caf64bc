import { ImageStore, type OciImage } from '@cloudos/images';
import { counterImage, obstacleToTestImages, shellImage } from '@cloudos/test-images';

/** Makes `counter:1` and `shell:1` in the store of that directory. @throws Error with the command that installs what is missing */
export async function makeTestImages(directory: string): Promise<OciImage[]> {
  const obstacle = obstacleToTestImages();
  if (obstacle !== undefined) throw new Error(obstacle);
  const store = new ImageStore(directory);
  return [await counterImage(store), await shellImage(store)];
}
