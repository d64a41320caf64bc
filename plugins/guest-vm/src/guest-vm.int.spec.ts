import { busyboxCommands, guestConformance, shellPrograms } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { obstacleToTestImages, obstacleToVmImage, vmImage } from '@cloudos/test-images';
import { fillDisk } from './full-disk.fixture.ts';
import plugin from './index.ts';

const mebibyte = 2 ** 20;

guestConformance(plugin, {
  image: 'vm:1',
  config: { memoryBytes: 128 * mebibyte, diskBytes: 64 * mebibyte },
  prepare: (stateDir) => vmImage(ImageStore.of(stateDir)),
  prerequisite: () => obstacleToTestImages() ?? obstacleToVmImage(),
  programs: shellPrograms,
  commands: busyboxCommands,
  fillDisk,
  memoryLimitBytes: 128 * mebibyte,
});
