import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxCommands, busyboxPrograms, guestConformance } from '@cloudos/conformance';
import { findTool } from '@cloudos/host-tools';
import { ImageStore, importImage } from '@cloudos/images';
import { damage, obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { guestTraces } from '@cloudos/testing';
import { afterAll } from 'vitest';
import { connect } from './engine.ts';
import { fillDisk } from './full-disk.fixture.ts';
import guestDocker from './index.ts';
import { OwnEngine } from './own-engine.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-docker-path-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

const diskMaxBytes = 2 ** 30;

guestConformance(guestDocker, {
  config: { engine: 'own', pull: false, hostPaths: [hostPath], diskMaxBytes },
  image: 'shell:1',
  prepare: (stateDir) => shellImage(ImageStore.of(stateDir)),
  programs: busyboxPrograms,
  commands: busyboxCommands,
  hostPath,
  fillDisk,
  async traces(harness) {
    const docker = connect(new OwnEngine(harness.dataDir, diskMaxBytes).socket);
    const containers = await docker.listContainers({ all: true });
    return {
      ...guestTraces(harness),
      containers: containers.flatMap(({ Names: names }) => names),
      layers: readdirSync(join(harness.dataDir, 'engine/image/btrfs/layerdb/mounts')),
      subvolumes: readdirSync(join(harness.dataDir, 'engine/btrfs/subvolumes')),
    };
  },
  async damagedImage(stateDir) {
    const store = ImageStore.of(stateDir);
    const from = join(stateDir, 'other');
    mkdirSync(from);
    writeFileSync(join(from, 'file'), 'content');
    const [image] = await importImage(store, { from, form: 'root-directory' }, { reference: 'damaged:1' });
    if (image?.kind !== 'oci') throw new Error('no image');
    return damage(store, image);
  },
  prerequisite: () => {
    if (process.getuid?.() !== 0) return 'a dockerd needs root: run the tests as root';
    return findTool('dockerd') ? obstacleToTestImages() : 'there is no dockerd (apt-get install docker.io)';
  },
});
