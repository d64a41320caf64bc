// Makes what tests of virtual machines need of the package archive, and keeps it in the temporary directory of the machine.
import { cloudRoot, obstacleToTestImages, obstacleToVmImage, vmFiles } from '@cloudos/test-images';
import { say } from './lib/workspace.mjs';

const obstacle = obstacleToTestImages() ?? obstacleToVmImage();
if (obstacle === undefined) {
  const started = Date.now();
  await vmFiles();
  await cloudRoot();
  say(`Images for tests are there, after ${Math.round((Date.now() - started) / 1000)} s.`);
}
