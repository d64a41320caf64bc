import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { removeTree } from '@cloudos/host-tools';
import { type DiskImage, type ImageStore, importImage } from '@cloudos/images';
import { makeExt4, mirrorsOfHost, suiteOfHost, vmCache, vmFiles } from './vm-image.ts';

const run = promisify(execFile);
const makeMaxMs = 900_000;
/** A Debian that cloud-init sets up. With fuseiso, for the root of a container: its host may know no ISO 9660. */
const packages = [
  ...[
    'cloud-init',
    'ifupdown',
    'systemd-sysv',
    'udev',
    'iproute2',
    'sudo',
    'cloud-guest-utils',
    'openssh-client',
    'fuseiso',
  ],
];
/** What nobody reads here. */
const left = ['doc', 'man', 'info', 'locale', 'i18n'];
const diskBytes = 768 * 2 ** 20;

/**
 * The root file system of Debian with systemd and cloud-init, as its packages make it, in a directory. Made once by mmdebstrap
 * and kept in the temporary directory of the machine; that takes some 40 s of a processor and the package archive.
 */
export async function cloudRoot(): Promise<string> {
  const cache = await vmCache();
  const key = createHash('sha256')
    .update(JSON.stringify([packages, left, suiteOfHost()]))
    .digest('hex')
    .slice(0, 8);
  const directory = join(cache, `cloud-${key}`);
  if (existsSync(directory)) return directory;
  const work = await mkdtemp(join(cache, '.cloud-'));
  try {
    const root = join(work, 'root');
    const args = [
      ...[
        '--quiet',
        '--variant=minbase',
        '--dpkgopt=force-unsafe-io',
        '--mode=root',
        '--format=directory',
        `--include=${packages.join(',')}`,
      ],
      ...left.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    ];
    await run('mmdebstrap', [...args, suiteOfHost(), root, ...mirrorsOfHost()], { timeout: makeMaxMs });
    await rename(root, directory).catch((error: unknown) => {
      if (!existsSync(directory)) throw error;
    });
    return directory;
  } finally {
    await removeTree(work);
  }
}

/**
 * A disk with {@link cloudRoot}, with the kernel of `vm:1` and the modules that a virtual machine needs beside it. Imported as
 * `cloud:1`: an image that knows nothing of cloudos and has a complete system in it.
 */
export async function cloudImage(store: ImageStore): Promise<DiskImage> {
  const root = await cloudRoot();
  const files = await vmFiles();
  const work = await mkdtemp(join(await vmCache(), '.cloud-disk-'));
  try {
    const disk = join(work, 'disk.img');
    await makeExt4(root, disk, diskBytes);
    const boot = {
      kernel: join(files, 'vmlinuz'),
      initrd: join(files, 'initrd-all'),
      commandLine: 'console=ttyS0 quiet',
    };
    const [image] = await importImage(store, { from: disk, form: 'disk' }, { reference: 'cloud:1', boot });
    if (image?.kind !== 'disk') throw new Error(`cloud:1 is ${image?.kind}`);
    return image;
  } finally {
    await removeTree(work);
  }
}
