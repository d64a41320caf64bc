import { busyboxCommands, busyboxPrograms, guestConformance } from '@cloudos/conformance';
import { findTool } from '@cloudos/host-tools';
import { ImageStore } from '@cloudos/images';
import { obstacleToTestImages, shellImage } from '@cloudos/test-images';
import guestLxd from './index.ts';

guestConformance(guestLxd, {
  config: { daemon: 'own' },
  image: 'shell:1',
  prepare: (stateDir) => shellImage(ImageStore.of(stateDir)),
  programs: busyboxPrograms,
  commands: busyboxCommands,
  prerequisite: () => {
    if (process.getuid?.() !== 0) return 'an lxd needs root: run the tests as root';
    return findTool('lxd') ? obstacleToTestImages() : 'there is no lxd (apt-get install lxd)';
  },
});
