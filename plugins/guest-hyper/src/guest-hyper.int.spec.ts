import { busyboxCommands, guestConformance, shellPrograms } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { counterImage, damage, obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { guestTraces } from '@cloudos/testing';
import plugin from './index.ts';
import { findKernel } from './linux-kernel.ts';

guestConformance(plugin, {
  image: 'shell:1',
  // The size of the memory test: each size takes a template of its own.
  config: { memoryBytes: 96 * 2 ** 20 },
  prepare: (stateDir) => shellImage(ImageStore.of(stateDir)),
  prerequisite: () =>
    obstacleToTestImages() ?? (findKernel() ? undefined : 'no kernel: apt-get install linux-image-cloud-amd64'),
  programs: shellPrograms,
  commands: busyboxCommands,
  memoryLimitBytes: 96 * 2 ** 20,
  traces: guestTraces,
  async damagedImage(stateDir) {
    const store = ImageStore.of(stateDir);
    return damage(store, await counterImage(store));
  },
});
