import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxCommands, guestConformance, shellPrograms } from '@cloudos/conformance';
import { ImageStore, importImage } from '@cloudos/images';
import { damage, obstacleToTestImages, obstacleToVmImage, vmImage } from '@cloudos/test-images';
import { fullDirectory, guestTraces } from '@cloudos/testing';
import { afterAll } from 'vitest';
import plugin from './index.ts';

const mebibyte = 2 ** 20;

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-given-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

guestConformance(plugin, {
  image: 'vm:1',
  config: { memoryBytes: 128 * mebibyte, diskBytes: 64 * mebibyte, hostPaths: [hostPath] },
  hostPath,
  prepare: (stateDir) => vmImage(ImageStore.of(stateDir)),
  prerequisite: () => obstacleToTestImages() ?? obstacleToVmImage(),
  programs: shellPrograms,
  commands: busyboxCommands,
  fillDisk: ({ dataDir }) => fullDirectory(join(dataDir, 'guests')),
  memoryLimitBytes: 128 * mebibyte,
  traces: guestTraces,
  async damagedImage(stateDir) {
    const store = ImageStore.of(stateDir);
    const from = join(stateDir, 'other.img');
    await writeFile(from, randomBytes(mebibyte));
    const [image] = await importImage(store, { from, form: 'disk' }, { reference: 'damaged:1' });
    if (image?.kind !== 'disk') throw new Error('no disk');
    return damage(store, image);
  },
});
