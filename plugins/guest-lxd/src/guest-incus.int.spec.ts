import { guestConformance } from '@cloudos/conformance';
import { suiteOn } from './conformance.fixture.ts';
import guestLxd from './index.ts';

// What the two daemons could differ in, without what the node does itself. All of it: CLOUDOS_TEST_INCUS=all.
guestConformance(guestLxd, {
  ...suiteOn('incus'),
  parts: process.env.CLOUDOS_TEST_INCUS === 'all' ? undefined : ['interaction', 'limits', 'snapshots', 'faults'],
});
