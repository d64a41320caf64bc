import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A kernel with the modules that the machine needs. */
export interface LinuxKernel {
  readonly version: string;
  readonly image: string;
  /** Files of modules, each after those that it needs. */
  readonly modules: readonly string[];
}

/** What the agent needs, and the kernel may have built in: a transport, consoles, disk, network, the root, mounts. */
const wanted = ['virtio_mmio', 'virtio_console', 'virtio_blk', 'virtio_net', 'squashfs', 'overlay', 'virtiofs'];

/**
 * The newest kernel for clouds that is installed (Debian: linux-image-cloud-amd64): small, and made for virtio.
 * @param bootDir where kernels lie
 * @param modulesDir where the modules of each version lie
 */
export function findKernel(bootDir = '/boot', modulesDir = '/lib/modules'): LinuxKernel | undefined {
  const names = existsSync(bootDir) ? readdirSync(bootDir) : [];
  const versions = names
    .filter((name) => /^vmlinuz-.*cloud-amd64$/.test(name))
    .map((name) => name.slice('vmlinuz-'.length))
    .filter((version) => existsSync(join(modulesDir, version, 'modules.dep')))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const version = versions.at(-1);
  if (version === undefined) return undefined;
  return { version, image: join(bootDir, `vmlinuz-${version}`), modules: modulesOf(join(modulesDir, version)) };
}

/** Follows modules.dep (depmod(8)): `path: what it needs, nearest first`. */
function modulesOf(directory: string): string[] {
  const needs = new Map<string, { path: string; needed: string[] }>();
  for (const line of readFileSync(join(directory, 'modules.dep'), 'utf8').split('\n')) {
    const [path = '', rest = ''] = line.split(':');
    if (path) needs.set(nameOf(path), { path, needed: rest.trim().split(/\s+/).filter(Boolean) });
  }
  const order: string[] = [];
  for (const name of wanted) {
    const found = needs.get(name);
    if (!found) continue;
    for (const path of [...found.needed.reverse(), found.path]) if (!order.includes(path)) order.push(path);
  }
  return order.map((path) => join(directory, path));
}

function nameOf(path: string): string {
  return (path.split('/').at(-1) ?? '').replace(/\.ko(\.(xz|gz|zst))?$/, '').replaceAll('-', '_');
}
