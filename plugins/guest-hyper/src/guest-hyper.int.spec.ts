import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxCommands, guestConformance, shellPrograms } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { counterImage, damage, obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { fullDirectory, guestTraces } from '@cloudos/testing';
import { afterAll } from 'vitest';
import plugin from './index.ts';
import { findKernel } from './linux-kernel.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-given-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

guestConformance(plugin, {
  image: 'shell:1',
  // The size of the memory test: each size takes a template of its own.
  config: { memoryBytes: 96 * 2 ** 20, hostPaths: [hostPath] },
  hostPath,
  prepare: (stateDir) => shellImage(ImageStore.of(stateDir)),
  prerequisite: () =>
    obstacleToTestImages() ?? (findKernel() ? undefined : 'no kernel: apt-get install linux-image-cloud-amd64'),
  programs: shellPrograms,
  commands: busyboxCommands,
  memoryLimitBytes: 96 * 2 ** 20,
  traces: guestTraces,
  fillDisk: ({ dataDir }) => fullDirectory(join(dataDir, 'guests')),
  async damagedImage(stateDir) {
    const store = ImageStore.of(stateDir);
    return damage(store, await counterImage(store));
  },
});
