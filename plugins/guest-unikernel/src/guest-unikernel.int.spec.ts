import { guestConformance } from '@cloudos/conformance';
import { afterAll } from 'vitest';
import plugin from './index.ts';
import {
  buildUnikernel,
  importUnikernel,
  unikernelPrograms,
  unikernelReference,
} from './unikernel-programs.fixture.ts';

const unikernel = buildUnikernel();
afterAll(unikernel.remove);

guestConformance(plugin, {
  image: unikernelReference,
  prepare: (stateDir) => importUnikernel(stateDir, unikernel.path),
  programs: unikernelPrograms,
  memoryLimitBytes: 16 * 2 ** 20,
});
