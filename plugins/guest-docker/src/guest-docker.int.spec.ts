import { busyboxPrograms, guestConformance } from '@cloudos/conformance';
import { findTool } from '@cloudos/host-tools';
import { busyboxReference, importBusybox, lacksBusybox } from '@cloudos/images/testing';
import guestDocker from './index.ts';

guestConformance(guestDocker, {
  config: { engine: 'own', pull: false },
  image: busyboxReference,
  prepare: importBusybox,
  programs: busyboxPrograms,
  prerequisite: () => {
    if (process.getuid?.() !== 0) return 'a dockerd needs root: run the tests as root';
    return findTool('dockerd') ? lacksBusybox() : 'there is no dockerd (apt-get install docker.io)';
  },
});
