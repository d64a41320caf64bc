import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxCommands, busyboxPrograms, guestConformance } from '@cloudos/conformance';
import { findTool } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { afterAll } from 'vitest';
import guestDocker from './index.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-docker-path-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

guestConformance(guestDocker, {
  config: { engine: 'own', pull: false, hostPaths: [hostPath] },
  image: 'shell:1',
  prepare: (stateDir) => shellImage(ImageStore.of(stateDir)),
  programs: busyboxPrograms,
  commands: busyboxCommands,
  hostPath,
  prerequisite: () => {
    if (process.getuid?.() !== 0) return 'a dockerd needs root: run the tests as root';
    return findTool('dockerd') ? obstacleToTestImages() : 'there is no dockerd (apt-get install docker.io)';
  },
});
