import { existsSync, lstatSync, mkdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { chmod, copyFile, cp, mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { digest } from '@cloudos/host-tools';
import { toolboxTarget } from './toolbox.ts';

/** One mount of a zone, in the terms of fstab(5). */
export interface ZoneMount {
  readonly source: string;
  /** Inside of the zone. */
  readonly target: string;
  readonly type: string;
  readonly options: string;
}

/** What every zone of this host shares: a skeleton as the lowest layer, and the host's programs mounted read-only. */
export interface Userland {
  /** Directory of the skeleton. */
  readonly base: string;
  /** Directory of the skeleton that lies over the image of another Linux: mount points that no symbolic link of it leads away. */
  readonly overImage: string;
  /** The host's programs, read-only. */
  readonly programs: readonly ZoneMount[];
  /** The host's programs, each under a layer of the zone's own: `<name>` stands for a directory of it. */
  readonly ownPrograms: readonly { readonly name: string; readonly lower: string; readonly target: string }[];
  /** Devices, terminals, processes. */
  readonly kernel: readonly ZoneMount[];
  readonly path: string;
  bind(source: string, target: string, options: string): ZoneMount;
}

/** Where the running Node.js is found in a zone when it is not below /usr. */
const nodeTarget = '/opt/cloudos-node';
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const programDirectories = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];
/** Where the old root is put for the moment between pivot_root and its unmounting. */
export const oldRoot = '.host';
/** Of the host's /etc: what programs need to be found and loaded, never accounts or configuration. */
const copiedFromEtc = [
  'alternatives',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'localtime',
  'protocols',
  'services',
  'ssl/certs/ca-certificates.crt',
  'ssl/openssl.cnf',
];
/** Kernel interfaces that a guest with user 0 could write to, or that tell about the host (as in the OCI defaults). */
const readOnlyProc = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'];
const maskedProc = ['kcore', 'keys', 'latency_stats', 'timer_list', 'sched_debug', 'kallsyms'];
const emptyProc = ['acpi', 'scsi'];

/** Bumped when the skeleton is made differently. */
const skeletonVersion = 2;

export interface UserlandOptions {
  readonly dataDir: string;
  readonly root: boolean;
  /** Content of /proc/self/mountinfo. */
  readonly mountInfo: string;
  readonly execPath?: string;
}

/** Makes the skeleton, unless it is there, and says what is mounted over it. */
export async function prepareUserland(options: UserlandOptions): Promise<Userland> {
  const execPath = options.execPath ?? process.execPath;
  const fingerprint = fingerprintOfHost(execPath);
  const base = join(options.dataDir, `base-${fingerprint}`);
  const overImage = join(options.dataDir, `base-lx-${fingerprint}`);
  if (!existsSync(base)) await makeSkeleton(base);
  if (!existsSync(overImage)) await makeImageSkeleton(overImage);
  const flags = new MountFlags(options.mountInfo, options.root);
  const own = execPath.startsWith('/usr/') ? undefined : nodeTree(execPath);
  const trees = ['/usr', ...programDirectories].filter((path) => existsSync(path) && lstatSync(path).isDirectory());
  const node = own ? flags.readOnlyTree(own.source, own.target) : [];
  return {
    base,
    overImage,
    programs: [...trees.flatMap((path) => flags.readOnlyTree(path, path)), ...node],
    ownPrograms: trees.map((path) => ({ name: `own${path.replaceAll('/', '-')}`, lower: path, target: path })),
    kernel: [
      ...devices
        .filter((name) => existsSync(`/dev/${name}`))
        .map((name) => flags.bind(`/dev/${name}`, `/dev/${name}`, options.root ? 'bind,ro' : 'bind')),
      {
        source: 'devpts',
        target: '/dev/pts',
        type: 'devpts',
        options: 'newinstance,ptmxmode=0666,mode=0620,nosuid,noexec',
      },
      { source: 'tmpfs', target: '/dev/shm', type: 'tmpfs', options: 'nosuid,nodev,mode=1777,size=64m' },
      { source: 'proc', target: '/proc', type: 'proc', options: 'nosuid,nodev,noexec' },
    ],
    path: own ? `${nodeTarget}/bin:${systemPath}` : systemPath,
    bind: (source, target, mountOptions) => flags.bind(source, target, mountOptions),
  };
}

/**
 * What is mounted once the zone's own root is there. /etc becomes a mount point so that it cannot be renamed, and what
 * the loader reads in it is read-only: commands enter the zone with privileges before they drop them.
 */
export function protectiveMounts(base: string, root: boolean): ZoneMount[] {
  const bindInside = (path: string, options: string): ZoneMount => ({
    source: `@${path}`,
    target: path,
    type: 'none',
    options,
  });
  const loader = ['ld.so.cache', 'ld.so.preload'].filter((name) => existsSync(join(base, 'etc', name)));
  const proc = (names: readonly string[]) => names.filter((name) => existsSync(`/proc/${name}`));
  return [
    bindInside('/etc', 'bind'),
    bindInside(`/${toolboxTarget}`, 'bind,ro,nosuid,nodev'),
    ...loader.map((name) => bindInside(`/etc/${name}`, 'bind,ro,nosuid,nodev')),
    ...(root
      ? [
          ...proc(readOnlyProc).map((name) => bindInside(`/proc/${name}`, 'bind,ro,nosuid,nodev,noexec')),
          ...proc(maskedProc).map((name) => ({ ...bindInside('/dev/null', 'bind'), target: `/proc/${name}` })),
          ...proc(emptyProc).map((name) => ({
            source: 'tmpfs',
            target: `/proc/${name}`,
            type: 'tmpfs',
            options: 'ro,size=0',
          })),
        ]
      : []),
  ];
}

/** Files of a zone's own that lie over its userland. */
export function writeOwnFiles(own: string, name: string, address: string | undefined): void {
  mkdirSync(join(own, 'etc'), { recursive: true });
  const hosts = `127.0.0.1 localhost\n::1 localhost\n${address ?? '127.0.1.1'} ${name}\n`;
  writeFileSync(join(own, 'etc/hosts'), hosts);
  writeFileSync(join(own, 'etc/hostname'), `${name}\n`);
}

/** The mount with its paths as the host has them. A source that begins with @ is a path in the zone's own root. */
export function inRoot(mount: ZoneMount, root: string): ZoneMount {
  const source = mount.source.startsWith('@') ? root + mount.source.slice(1) : mount.source;
  return { ...mount, source, target: mount.target === '/' ? root : root + mount.target };
}

/** The mounts as fstab(5), blanks as octal. */
export function fstabOf(mounts: readonly ZoneMount[]): string {
  return mounts
    .map(({ source, target, type, options }) => {
      return `${[source, target].map(escapeBlank).join(' ')} ${type} ${options} 0 0\n`;
    })
    .join('');
}

function escapeBlank(text: string): string {
  return text.replace(/[\s\\#]/g, (blank) => `\\${blank.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/**
 * The tree of the running Node.js, when it has the layout of a distribution; otherwise the program alone, so that a
 * directory that happens to be around it (a home) never gets into a zone.
 */
function nodeTree(execPath: string): { source: string; target: string } {
  const prefix = dirname(dirname(execPath));
  const isDistribution = basename(dirname(execPath)) === 'bin' && existsSync(join(prefix, 'include/node/node.h'));
  return isDistribution
    ? { source: prefix, target: nodeTarget }
    : { source: execPath, target: `${nodeTarget}/bin/node` };
}

function fingerprintOfHost(execPath: string): string {
  const times = ['/etc/ld.so.cache', '/etc/alternatives', '/etc/localtime'].map((path) => {
    try {
      return statSync(path).mtimeMs;
    } catch {
      return 0;
    }
  });
  return digest(JSON.stringify([skeletonVersion, execPath, times]), 12);
}

async function makeSkeleton(base: string): Promise<void> {
  const half = `${base}.${process.pid}`;
  await rm(half, { recursive: true, force: true });
  const plain = [
    'usr',
    'proc',
    'sys',
    'etc',
    'home',
    'root',
    'run',
    'mnt',
    'media',
    'opt',
    'srv',
    oldRoot,
    toolboxTarget,
  ];
  const deeper = [
    'dev/pts',
    'dev/shm',
    'var/log',
    'var/lib',
    'var/cache',
    'var/tmp',
    'tmp',
    'run/lock',
    'etc/ssl/certs',
  ];
  for (const name of [...plain, ...deeper]) await mkdir(join(half, name), { recursive: true, mode: 0o755 });
  for (const name of ['tmp', 'var/tmp']) await chmod(join(half, name), 0o1777);
  for (const path of programDirectories) {
    if (!existsSync(path)) continue;
    if (lstatSync(path).isSymbolicLink()) await symlink(readlinkSync(path), join(half, path));
    else await mkdir(join(half, path));
  }
  await mkdir(join(half, nodeTarget, 'bin'), { recursive: true });
  await writeFile(join(half, nodeTarget, 'bin/node'), '');
  await makeDevices(half);
  await symlink('/run', join(half, 'var/run'));
  await writeEtc(join(half, 'etc'));
  await rename(half, base).catch(async () => rm(half, { recursive: true, force: true }));
}

async function makeDevices(root: string): Promise<void> {
  for (const name of devices) await writeFile(join(root, 'dev', name), '');
  const links = { ptmx: 'pts/ptmx', fd: '/proc/self/fd', stdin: 'fd/0', stdout: 'fd/1', stderr: 'fd/2' };
  for (const [name, target] of Object.entries(links)) await symlink(target, join(root, 'dev', name));
}

async function makeImageSkeleton(base: string): Promise<void> {
  const half = `${base}.${process.pid}`;
  await rm(half, { recursive: true, force: true });
  for (const name of ['proc', 'sys', 'etc', 'dev/pts', 'dev/shm', oldRoot, toolboxTarget]) {
    await mkdir(join(half, name), { recursive: true, mode: 0o755 });
  }
  await makeDevices(half);
  for (const name of ['ld.so.preload', 'resolv.conf']) await writeFile(join(half, 'etc', name), '');
  await rename(half, base).catch(async () => rm(half, { recursive: true, force: true }));
}

async function writeEtc(etc: string): Promise<void> {
  for (const name of copiedFromEtc) {
    const from = join('/etc', name);
    if (!existsSync(from)) continue;
    if (statSync(from).isDirectory()) await cp(from, join(etc, name), { recursive: true, verbatimSymlinks: true });
    else await copyFile(from, join(etc, name));
  }
  await writeFile(join(etc, 'ld.so.preload'), '');
  if (existsSync('/usr/lib/os-release')) await symlink('../usr/lib/os-release', join(etc, 'os-release'));
  await symlink('../proc/self/mounts', join(etc, 'mtab'));
  await writeFile(
    join(etc, 'passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  );
  await writeFile(join(etc, 'group'), 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n');
  await writeFile(join(etc, 'nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
  await writeFile(join(etc, 'resolv.conf'), '');
}

/** Finds the flags of the host's mounts, which a bind mount in a user namespace must keep (mount_namespaces(7)). */
class MountFlags {
  readonly #mounts: readonly { readonly target: string; readonly flags: string }[];
  readonly #root: boolean;

  constructor(mountInfo: string, root: boolean) {
    this.#root = root;
    this.#mounts = mountInfo
      .split('\n')
      .map((line) => line.split(' '))
      .filter((fields) => fields.length > 5)
      .map((fields) => ({ target: (fields[4] ?? '').replaceAll('\\040', ' '), flags: fields[5] ?? '' }));
  }

  bind(source: string, target: string, options: string): ZoneMount {
    const kept = this.#root ? '' : this.#kept(source, options);
    return { source, target, type: 'none', options: `${options}${kept}` };
  }

  /** The tree, and each mount below it again: read-only counts for the topmost mount alone. */
  readOnlyTree(source: string, target: string): ZoneMount[] {
    const below = this.#mounts.filter((mount) => mount.target.startsWith(`${source}/`));
    const kind = below.length > 0 ? 'rbind' : 'bind';
    return [
      this.bind(source, target, `${kind},ro,nosuid,nodev`),
      ...below.map((mount) =>
        this.bind(mount.target, target + mount.target.slice(source.length), 'bind,ro,nosuid,nodev'),
      ),
    ];
  }

  #kept(source: string, options: string): string {
    const around = this.#mounts
      .filter(({ target }) => source === target || source.startsWith(target === '/' ? '/' : `${target}/`))
      .sort((a, b) => a.target.length - b.target.length)
      .at(-1);
    const flags = (around?.flags ?? '').split(',');
    return ['nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'relatime']
      .filter((flag) => flags.includes(flag) && !options.split(',').includes(flag))
      .map((flag) => `,${flag}`)
      .join('');
  }
}

/** Removes every skeleton and toolbox. No zone may run on one. */
export async function removeSkeletons(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir).catch(() => [])) {
    if (name.startsWith('base-') || name.startsWith('toolbox-'))
      await rm(join(dataDir, name), { recursive: true, force: true });
  }
}
