import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxCommands, guestConformance, shellPrograms } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { counterImage, obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { afterAll } from 'vitest';
import { fillDisk } from './full-disk.fixture.ts';
import guestZones from './index.ts';
import { zoneTraces } from './zone-traces.fixture.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-given-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

/** Zones of another Linux: a userland without the host's programs, without even a C library. */
guestConformance(guestZones, {
  lacks: ['snapshot'],
  image: 'shell:1',
  config: { hostPaths: [hostPath] },
  hostPath,
  prerequisite: obstacleToTestImages,
  prepare: async (stateDir) => {
    await shellImage(ImageStore.of(stateDir));
  },
  programs: shellPrograms,
  commands: busyboxCommands,
  traces: zoneTraces,
  ...(fillDisk ? { fillDisk } : {}),
  async damagedImage(stateDir) {
    const store = ImageStore.of(stateDir);
    const image = await counterImage(store);
    const path = store.blobs.path(image.layers[0]?.digest ?? '');
    const content = readFileSync(path);
    content[content.length >> 1] = (content[content.length >> 1] ?? 0) ^ 1;
    writeFileSync(path, content);
    return 'counter:1';
  },
});
