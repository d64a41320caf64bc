import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxCommands, guestConformance, shellPrograms } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { counterImage, damage, obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { fullDirectory, guestTraces } from '@cloudos/testing';
import { afterAll } from 'vitest';
import guestZones from './index.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-given-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

/** Zones of another Linux: a userland without the host's programs, without even a C library. */
guestConformance(guestZones, {
  lacks: ['snapshot'],
  image: 'shell:1',
  config: { hostPaths: [hostPath], startTimeoutMs: 60_000 },
  hostPath,
  prerequisite: obstacleToTestImages,
  prepare: async (stateDir) => {
    await shellImage(ImageStore.of(stateDir));
  },
  programs: shellPrograms,
  commands: busyboxCommands,
  traces: guestTraces,
  // Only root can.
  ...(process.geteuid?.() === 0 ? { fillDisk: ({ dataDir }) => fullDirectory(join(dataDir, 'zones')) } : {}),
  async damagedImage(stateDir) {
    const store = ImageStore.of(stateDir);
    return damage(store, await counterImage(store));
  },
});
