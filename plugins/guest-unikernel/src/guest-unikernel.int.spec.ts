import { guestConformance } from '@cloudos/conformance';
import { afterAll } from 'vitest';
import plugin from './index.ts';
import { buildUnikernel, unikernelPrograms } from './unikernel-programs.fixture.ts';

const unikernel = buildUnikernel();
afterAll(unikernel.remove);

guestConformance(plugin, {
  image: `file:${unikernel.path}`,
  programs: unikernelPrograms,
  memoryLimitBytes: 16 * 2 ** 20,
});
