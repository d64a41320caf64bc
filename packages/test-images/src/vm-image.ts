import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findTool, removeTree } from '@cloudos/host-tools';
import { type DiskImage, type ImageStore, importImage } from '@cloudos/images';
import { bootLoader, installBootLoader, partitionAt } from './boot-loader.ts';
import { buildProgram } from './programs.ts';

const run = promisify(execFile);
const sources = fileURLToPath(new URL('../vm', import.meta.url));
/** How long the packages may take to come and be unpacked. */
const makeMaxMs = 600_000;
const packages = ['busybox-static', 'linux-image-cloud-amd64', 'grub-pc-bin', 'grub-common'];
/** Each after those that it needs. */
const diskModules = [
  'virtio_ring',
  'virtio',
  'virtio_pci_legacy_dev',
  'virtio_pci_modern_dev',
  'virtio_pci',
  'virtio_blk',
];
const otherModules = [
  ...['virtio_console', 'failover', 'net_failover', 'virtio_net', 'cdrom', 'isofs', 'button', 'evdev'],
  ...['fuse', 'virtiofs'],
];
const diskBytes = 32 * 2 ** 20;
/** Of the disk that boots by itself: room for kernel and initrd beside the system. */
const bootDiskBytes = 48 * 2 ** 20;
/** Without the tests of its own ciphers the kernel is there a third of a second earlier where it is emulated. */
const commandLine = 'console=ttyS0 quiet panic=-1 cryptomgr.notests random.trust_cpu=on';

/** What the image of a machine is made with, beside what the other test images need. */
const tools = [
  { name: 'mmdebstrap', package: 'mmdebstrap' },
  { name: 'mkfs.ext4', package: 'e2fsprogs' },
];

/** Why {@link vmImage} cannot be made here, with the command that changes it; undefined when it can. */
export function obstacleToVmImage(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root: run the tests as root';
  const missing = tools.find(({ name }) => !findTool(name));
  return missing && `no ${missing.name}: apt-get install ${missing.package}`;
}

/**
 * A small Linux for virtual machines: Debian's kernel for clouds and busybox (its init, its userland), unpacked from
 * packages by mmdebstrap on an ext4 disk, with `probe` and `counter` in `/bin`. It is started by its kernel and initrd, and
 * reads NoCloud seeds by a script of its own (`vm/rc`). Imported as `vm:1`. The files are made once for each state of
 * their sources and kept in the temporary directory of the machine; that takes some 10 s and the package archive.
 */
export async function vmImage(store: ImageStore, { clonable = true } = {}): Promise<DiskImage> {
  const directory = await vmFiles();
  const boot = { kernel: join(directory, 'vmlinuz'), initrd: join(directory, 'initrd'), commandLine };
  const source = { from: join(directory, 'disk.img'), form: 'disk' } as const;
  const [image] = await importImage(store, source, { reference: 'vm:1', boot, clonable });
  if (image?.kind !== 'disk') throw new Error(`vm:1 is ${image?.kind}`);
  return image;
}

/**
 * The same Linux on a disk that boots by itself, as that of a PC does: GRUB in its master boot record, kernel and initrd in
 * its one partition. Imported as `vm-disk:1`.
 */
export async function vmDiskImage(store: ImageStore): Promise<DiskImage> {
  const source = { from: join(await vmFiles(), 'boot.img'), form: 'disk' } as const;
  const [image] = await importImage(store, source, { reference: 'vm-disk:1' });
  if (image?.kind !== 'disk') throw new Error(`vm-disk:1 is ${image?.kind}`);
  return image;
}

/** Where what takes long to make is kept, on this machine. */
export async function vmCache(): Promise<string> {
  const cache = join(tmpdir(), `cloudos-test-vms-${process.getuid?.() ?? 0}`);
  await mkdir(cache, { recursive: true, mode: 0o755 });
  return cache;
}

/**
 * A directory with `disk.img`, `vmlinuz` and `initrd`; with `initrd-all`, which loads all modules and not only those of the
 * disk; and with `boot.img`, which needs no other.
 */
export async function vmFiles(): Promise<string> {
  const programs = { probe: await buildProgram('probe'), counter: await buildProgram('counter') };
  const hash = createHash('sha256').update(
    JSON.stringify([packages, diskModules, otherModules, diskBytes, bootDiskBytes]),
  );
  for (const name of readdirSync(sources).sort()) hash.update(readFileSync(join(sources, name)));
  for (const path of Object.values(programs)) hash.update(readFileSync(path));
  const cache = await vmCache();
  const directory = join(cache, hash.digest('hex').slice(0, 16));
  if (existsSync(directory)) return directory;
  const work = await mkdtemp(join(cache, '.new-'));
  try {
    const made = join(work, 'made');
    await mkdir(made);
    await makeFiles(await unpackedPackages(cache), programs, work, made);
    await rename(made, directory).catch((error: unknown) => {
      // Another process was faster.
      if (!existsSync(directory)) throw error;
    });
    return directory;
  } finally {
    await removeTree(work);
  }
}

/** What this image needs of Debian's packages: `busybox`, `vmlinuz`, `modules/`, `boot` (of GRUB). Unpacked once. */
async function unpackedPackages(cache: string): Promise<string> {
  const directory = join(
    cache,
    `packages-${createHash('sha256')
      .update([...packages, ...diskModules, ...otherModules].join(' '))
      .digest('hex')
      .slice(0, 8)}`,
  );
  if (existsSync(directory)) return directory;
  const work = await mkdtemp(join(cache, '.packages-'));
  try {
    const root = join(work, 'root');
    const args = [
      '--quiet',
      '--variant=extract',
      '--mode=root',
      `--include=${packages.join(',')}`,
      '--format=directory',
    ];
    await run('mmdebstrap', [...args, suiteOfHost(), root, ...mirrorsOfHost()], { timeout: makeMaxMs });
    const kept = join(work, 'kept');
    await mkdir(join(kept, 'modules'), { recursive: true });
    await copyFile(join(root, 'bin/busybox'), join(kept, 'busybox'));
    const kernel = (await readdir(join(root, 'boot'))).find((name) => name.startsWith('vmlinuz-')) ?? 'vmlinuz';
    await copyFile(join(root, 'boot', kernel), join(kept, 'vmlinuz'));
    for (const path of readdirSync(join(root, 'lib/modules'), { recursive: true }).map(String)) {
      const name = path.endsWith('.ko') ? (path.split('/').at(-1)?.slice(0, -3) ?? '') : '';
      if (![...diskModules, ...otherModules].includes(name)) continue;
      await copyFile(join(root, 'lib/modules', path), join(kept, 'modules', `${name}.ko`));
    }
    await writeFile(join(kept, 'boot'), await bootLoader(root, `linux /boot/vmlinuz ${commandLine}`));
    await rename(kept, directory).catch((error: unknown) => {
      if (!existsSync(directory)) throw error;
    });
    return directory;
  } finally {
    await removeTree(work);
  }
}

async function makeFiles(
  unpacked: string,
  programs: Readonly<Record<string, string>>,
  work: string,
  made: string,
): Promise<void> {
  await copyFile(join(unpacked, 'vmlinuz'), join(made, 'vmlinuz'));
  const busybox = join(unpacked, 'busybox');
  const initial = join(work, 'initial');
  await fill(initial, ['bin', 'dev', 'root', 'modules'], { 'bin/busybox': busybox, init: join(sources, 'init') });
  await installModules(unpacked, diskModules, join(initial, 'modules'));
  const pack = `cd "$1" && find . | sort | "$2" cpio -o -H newc >"$3"`;
  await run('/bin/sh', ['-c', pack, 'sh', initial, busybox, join(made, 'initrd')]);
  await installModules(unpacked, [...diskModules, ...otherModules], join(initial, 'modules'));
  await run('/bin/sh', ['-c', pack, 'sh', initial, busybox, join(made, 'initrd-all')]);

  const root = join(work, 'root');
  const folders = ['bin', 'sbin', 'etc/acpi/PWRF', 'dev', 'proc', 'sys', 'run', 'root', 'tmp', 'var/log', 'usr/bin'];
  await fill(root, [...folders, 'lib/modules'], {
    'bin/busybox': busybox,
    'bin/probe': programs.probe ?? '',
    'bin/counter': programs.counter ?? '',
    'etc/rc': join(sources, 'rc'),
    'etc/acpi/PWRF/00000080': join(sources, 'power'),
  });
  await copyFile(join(sources, 'inittab'), join(root, 'etc/inittab'));
  await chmod(join(root, 'tmp'), 0o1777);
  await installModules(unpacked, otherModules, join(root, 'lib/modules'));
  const { stdout } = await run(busybox, ['--list']);
  for (const applet of stdout.split('\n').filter((name) => name && name !== 'busybox'))
    await symlink('busybox', join(root, 'bin', applet));
  await symlink('../bin/busybox', join(root, 'sbin/init'));
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n');
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
  const disk = join(made, 'disk.img');
  await makeExt4(root, disk, diskBytes);
  await fill(root, ['boot'], { 'boot/vmlinuz': join(made, 'vmlinuz'), 'boot/initrd': join(made, 'initrd') });
  const bootable = join(made, 'boot.img');
  await makeExt4(root, bootable, bootDiskBytes, partitionAt);
  await installBootLoader(join(unpacked, 'boot'), bootable, bootDiskBytes);
}

/** An ext4 file system with that content, in a file of that size, from that byte of it on. */
export async function makeExt4(root: string, file: string, sizeBytes: number, offset = 0): Promise<void> {
  await writeFile(file, '');
  await truncate(file, sizeBytes);
  const place = offset === 0 ? [file] : ['-E', `offset=${offset}`, file, `${(sizeBytes - offset) / 1024}k`];
  await run(findTool('mkfs.ext4') ?? 'mkfs.ext4', ['-q', '-b', '4096', '-m', '0', '-d', root, ...place]);
}

async function fill(root: string, folders: readonly string[], programs: Readonly<Record<string, string>>) {
  for (const folder of folders) await mkdir(join(root, folder), { recursive: true, mode: 0o755 });
  for (const [name, from] of Object.entries(programs)) {
    await copyFile(from, join(root, name));
    await chmod(join(root, name), 0o755);
  }
}

/** Numbered, so that their order is that of their names. */
async function installModules(unpacked: string, names: readonly string[], to: string): Promise<void> {
  for (const [index, name] of names.entries()) {
    await copyFile(join(unpacked, 'modules', `${name}.ko`), join(to, `${String(index).padStart(2, '0')}-${name}.ko`));
  }
}

export function suiteOfHost(): string {
  const release = readFileSync('/etc/os-release', 'utf8');
  return /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(release)?.[1] ?? 'stable';
}

/** Where this machine has its own packages from. */
export function mirrorsOfHost(): string[] {
  const known = ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list'];
  const found = known.find((path) => existsSync(path) && /^\s*(deb|Types)/m.test(readFileSync(path, 'utf8')));
  return found === undefined ? [] : [found];
}
