import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type GuestConformanceOptions, guestConformance } from '@cloudos/conformance';
import { findTool } from '@cloudos/host-tools';
import { ImageStore, importImage } from '@cloudos/images';
import type { GuestStatus } from '@cloudos/sdk';
import { damage } from '@cloudos/test-images';
import { fullDirectory, guestTraces } from '@cloudos/testing';
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
  traces: guestTraces,
  fillDisk: ({ dataDir }) => fullDirectory(join(dataDir, 'guests')),
  async damagedImage(stateDir) {
    const from = join(stateDir, 'other.elf');
    await writeFile(from, Buffer.concat([await readFile(unikernel.path), Buffer.from('another')]));
    const store = ImageStore.of(stateDir);
    const [image] = await importImage(store, { from, form: 'unikernel' }, { reference: 'damaged:1' });
    if (image?.kind !== 'unikernel') throw new Error('no unikernel');
    return damage(store, image);
  },
  // Guests that run no commands keep the state of the suite as a value of the counter.
  state: {
    write: async (_harness, guest, text) => {
      await value(guest, { method: 'PUT', body: text });
    },
    read: (_harness, guest) => value(guest, {}),
  },
};

async function value({ address }: GuestStatus, init: RequestInit): Promise<string> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      const url = `http://${address?.host}/kv/state`;
      return await (await fetch(url, { ...init, signal: AbortSignal.timeout(5_000) })).text();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

// As a process of the host: with the specs of the unikernel itself.
guestConformance(plugin, {
  ...options,
  config: { carrier: 'runc' },
  prerequisite: () => (findTool('runc') ? undefined : 'runc is not installed: apt-get install runc'),
});
guestConformance(plugin, {
  ...options,
  config: { carrier: 'docker', docker: { socket: engine?.socket ?? '/none' } },
  traces: async (harness) => ({ ...guestTraces(harness), containers: await engine?.containers() }),
  prerequisite: engineIsMissing,
});
