import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxCommands, busyboxPrograms, guestConformance } from '@cloudos/conformance';
import { findTool } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { afterAll } from 'vitest';
import guestLxd from './index.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-lxd-path-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

guestConformance(guestLxd, {
  config: { daemon: 'own', hostPaths: [hostPath] },
  image: 'shell:1',
  prepare: (stateDir) => shellImage(ImageStore.of(stateDir)),
  programs: busyboxPrograms,
  commands: busyboxCommands,
  hostPath,
  prerequisite: () => {
    if (process.getuid?.() !== 0) return 'an lxd needs root: run the tests as root';
    return findTool('lxd') ? obstacleToTestImages() : 'there is no lxd (apt-get install lxd)';
  },
});
