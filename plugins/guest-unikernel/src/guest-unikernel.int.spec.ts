import { type GuestConformanceOptions, guestConformance } from '@cloudos/conformance';
import { findTool } from '@cloudos/host-tools';
import { afterAll } from 'vitest';
import { engineIsMissing, startEngine } from './engine.fixture.ts';
import plugin from './index.ts';
import {
  buildUnikernel,
  importUnikernel,
  unikernelPrograms,
  unikernelReference,
} from './unikernel-programs.fixture.ts';

const unikernel = buildUnikernel();
afterAll(unikernel.remove);
const engine = engineIsMissing() ? undefined : await startEngine();
afterAll(() => engine?.remove());

const options: GuestConformanceOptions = {
  image: unikernelReference,
  prepare: (stateDir) => importUnikernel(stateDir, unikernel.path),
  programs: unikernelPrograms,
  memoryLimitBytes: 16 * 2 ** 20,
};

// As a process of the host: with the specs of the unikernel itself.
guestConformance(plugin, {
  ...options,
  config: { carrier: 'runc' },
  prerequisite: () => (findTool('runc') ? undefined : 'runc is not installed: apt-get install runc'),
});
guestConformance(plugin, {
  ...options,
  config: { carrier: 'docker', docker: { socket: engine?.socket ?? '/none' } },
  prerequisite: engineIsMissing,
});
