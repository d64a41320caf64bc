import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageStore, importImage } from '@cloudos/images';
import { counterImage, obstacleToTestImages, obstacleToVmImage, shellImage, vmImage } from '@cloudos/test-images';

const plugins = fileURLToPath(new URL('../../../plugins', import.meta.url));

/** How the key-value counter runs on a runtime. */
export interface CounterGuest {
  /** Name of the runtime, and of the plugin after `guest-`. */
  readonly runtime: string;
  readonly plugin: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly image: string;
  readonly command?: readonly string[];
  readonly memoryBytes?: number;
}

/** Beside a userland, so that commands can be run in the guest. */
const beside = { image: 'shell:1', command: ['/bin/counter'] } as const;

const known: readonly CounterGuest[] = [
  { runtime: 'zones', plugin: '@cloudos/guest-zones', config: {}, ...beside },
  { runtime: 'docker', plugin: '@cloudos/guest-docker', config: { engine: 'own', pull: false }, ...beside },
  { runtime: 'hyper', plugin: '@cloudos/guest-hyper', config: {}, ...beside },
  {
    runtime: 'unikernel',
    plugin: '@cloudos/guest-unikernel',
    config: { carrier: 'runc' },
    image: 'unikernel:1',
    command: ['serve'],
  },
  {
    runtime: 'lxd',
    plugin: '@cloudos/guest-lxd',
    config: { daemon: 'own' },
    ...beside,
  },
  {
    runtime: 'vm',
    plugin: '@cloudos/guest-vm',
    config: { diskBytes: 64 * 2 ** 20 },
    image: 'vm:1',
    command: ['/bin/counter'],
  },
];

/** Every guest plugin of the repository but the one that only plays guests. */
export function guestPlugins(): string[] {
  return readdirSync(plugins)
    .filter((name) => name.startsWith('guest-') && name !== 'guest-simulated')
    .filter((name) => existsSync(path.join(plugins, name, 'package.json')))
    .map((name) => name.slice('guest-'.length))
    .sort();
}

/** How the counter runs on each; undefined for a runtime that this does not know yet. */
export function counterGuests(): readonly (CounterGuest | { readonly runtime: string; readonly image?: undefined })[] {
  return guestPlugins().map((runtime) => known.find((entry) => entry.runtime === runtime) ?? { runtime });
}

/** Why the images cannot be made here; undefined when they can. */
export function obstacleToCounters(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root: run the tests as root';
  return obstacleToTestImages() ?? obstacleToVmImage();
}

/** Brings the counter into the image store, in every form that a runtime runs. */
export async function importCounters(stateDir: string): Promise<void> {
  const store = ImageStore.of(stateDir);
  await counterImage(store);
  await shellImage(store);
  await vmImage(store);
  const source = path.join(plugins, 'guest-unikernel/unikernel');
  if (!existsSync(source)) return;
  const directory = mkdtempSync(path.join(tmpdir(), 'cloudos-counter-'));
  try {
    execFileSync('make', ['-s', '-C', source, `OUT=${directory}`], { stdio: ['ignore', 'ignore', 'inherit'] });
    const from = path.join(directory, 'counter.elf');
    await importImage(store, { from, form: 'unikernel' }, { reference: 'unikernel:1' });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
