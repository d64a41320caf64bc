import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import {
  type ControlGroupLayout,
  digest,
  findControlGroups,
  findTool,
  removeTree,
  runCommand,
} from '@cloudos/host-tools';
import { errorCode, type GuestFingerprint, messageOf } from '@cloudos/sdk';

export interface ZoneConfigNetwork {
  readonly mode: 'auto' | 'bridge' | 'ports';
}

/** What this host gives to zones. */
export interface HostAbilities {
  readonly rootless: boolean;
  readonly overlay: boolean;
  readonly bridge: boolean;
  /** Disks of limited size, by loop devices. */
  readonly disks: boolean;
  readonly tty: boolean;
  readonly envOptions: readonly string[];
  readonly groups: ControlGroupLayout;
  /** Limits of processes by resource limit hold in a user namespace since Linux 5.14 (they are counted per namespace). */
  readonly processMaxByRlimit: boolean;
  readonly mountInfo: string;
}

type Warnings = { reason: string; remedy: string }[];
export type ProbeResult =
  | { readonly abilities: HostAbilities; readonly fingerprint: GuestFingerprint & { available: true } }
  | { readonly abilities?: undefined; readonly fingerprint: GuestFingerprint & { available: false } };

/** Tools that a zone cannot do without, and the Debian package of each. */
const neededTools: readonly (readonly [tool: string, debianPackage: string])[] = [
  ...['unshare', 'nsenter', 'setsid', 'setpriv', 'prlimit'].map((tool) => [tool, 'util-linux'] as const),
  ['mount', 'mount'],
  ['umount', 'mount'],
  ['pivot_root', 'util-linux'],
  ...['dd', 'env', 'mkfifo', 'mv', 'stat', 'cat', 'cp'].map((tool) => [tool, 'coreutils'] as const),
];

const runtime = 'zones';

/** Tries on this host, once, what every zone needs. Takes some 20 ms, at most 10 s. */
export async function probeHost(dataDir: string, network: ZoneConfigNetwork): Promise<ProbeResult> {
  const root = process.geteuid?.() === 0;
  const missing = neededTools.filter(([tool]) => findTool(tool) === undefined);
  if (process.platform !== 'linux') return unavailable('zones need Linux', 'run on Linux');
  if (missing.length > 0) {
    const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
    return unavailable(`missing tools: ${missing.map(([tool]) => tool).join(', ')}`, `apt-get install ${packages}`);
  }
  if (network.mode === 'bridge' && !(root && findTool('ip'))) {
    return unavailable(
      'a bridge needs root and the tool ip',
      'apt-get install iproute2, and run as root; or set network.mode to ports',
    );
  }
  const tried = await tryNamespaces(dataDir, root);
  if (typeof tried === 'string') return unavailable(`no namespaces for zones: ${tried}`, await namespaceRemedy(root));
  const groups = findControlGroups({
    mounts: await readFile('/proc/self/mounts', 'utf8'),
    self: await readFile('/proc/self/cgroup', 'utf8'),
    root,
    name: `cloudos-${digest(dataDir, 10)}`,
  });
  const abilities: HostAbilities = {
    rootless: !root,
    overlay: tried.has('overlay'),
    bridge: root && network.mode !== 'ports' && findTool('ip') !== undefined,
    disks: root && tried.has('overlay') && findTool('mkfs.ext4') !== undefined && existsSync('/dev/loop-control'),
    tty: findTool('script') !== undefined && findTool('stty') !== undefined,
    envOptions: tried.has('signals') ? ['--default-signal=INT,QUIT'] : [],
    groups,
    processMaxByRlimit: !root && kernelIsAtLeast(5, 14),
    mountInfo: await readFile('/proc/self/mountinfo', 'utf8'),
  };
  return { abilities, fingerprint: describe(abilities) };
}

function describe(abilities: HostAbilities): GuestFingerprint & { available: true } {
  const { groups, bridge, overlay, rootless } = abilities;
  const holds = (controller: 'memory' | 'cpu' | 'pids') =>
    groups.v1[controller] !== undefined || (groups.v2?.controllers.includes(controller) ?? false);
  const warnings: Warnings = groups.warnings.filter(
    ({ reason }) => !(abilities.processMaxByRlimit && reason.includes('with the pids controller')),
  );
  if (!overlay) {
    warnings.push({
      reason: 'no overlay here: what zones write is kept in memory',
      remedy: 'use a data directory on ext4 or xfs, and Linux 5.11 or later without root',
    });
  }
  if (!abilities.disks) {
    warnings.push({
      reason: 'a disk limit does not hold here: there are no loop devices, no mkfs.ext4, or no rights to use them',
      remedy: rootless ? 'run as root' : 'apt-get install e2fsprogs',
    });
  }
  if (process.arch !== 'x64') {
    warnings.push({
      reason: `system calls of zones are not filtered on ${process.arch}; they have no capabilities here either`,
      remedy: 'use another runtime where a filter is needed',
    });
  }
  if (!findTool('perl')) {
    warnings.push({ reason: 'logs of zones have no times', remedy: 'apt-get install perl-base' });
  }
  if (!bridge) {
    warnings.push({
      reason: 'zones have no address of their own: their TCP ports are forwarded on 127.0.0.1, and they reach nobody',
      remedy: rootless ? 'run as root' : 'apt-get install iproute2',
    });
  }
  return {
    available: true,
    runtime,
    version: release(),
    features: {
      driver: 'linux',
      rootless,
      snapshot: false,
      cgroup: groups.version,
      memoryLimit: holds('memory'),
      cpuLimit: holds('cpu'),
      pidsLimit: holds('pids') || abilities.processMaxByRlimit,
      diskLimit: abilities.disks,
      logsSince: findTool('perl') !== undefined,
      unprivileged: process.arch === 'x64',
      brands: abilities.overlay ? 'sparse, whole-root, lx' : 'sparse, lx',
      pause: groups.v2 !== undefined || groups.v1.freezer !== undefined,
      resize: groups.version !== 'none',
      tty: abilities.tty,
      network: bridge ? 'bridge' : 'ports',
      guestNetwork: bridge,
      root: overlay ? 'overlay' : 'tmpfs',
    },
    warnings,
  };
}

function unavailable(reason: string, remedy: string): ProbeResult {
  return { fingerprint: { available: false, runtime, reason, remedy } };
}

/** What works inside of new namespaces, or why there are none. */
async function tryNamespaces(dataDir: string, root: boolean): Promise<ReadonlySet<string> | string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const directory = await mkdtemp(join(dataDir, '.probe-'));
  const inside = [
    'mkdir l u work m p',
    'mount -t proc proc p || exit 1',
    `mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=work${root ? '' : ',userxattr'} m 2>/dev/null && : >m/x && echo overlay`,
    'env --default-signal=INT true 2>/dev/null && echo signals',
    'exit 0',
  ].join('\n');
  const user = root ? [] : ['--user', '--map-root-user'];
  const args = [
    ...user,
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--fork',
    '--net',
    '--uts',
    '--ipc',
    '--cgroup',
  ];
  try {
    const said = await runCommand(findTool('unshare') ?? 'unshare', [...args, 'sh', '-c', inside], { cwd: directory });
    return new Set(said.split('\n').filter(Boolean));
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return messageOf(error).split(': ').slice(1).join(': ') || messageOf(error);
  } finally {
    await removeTree(directory);
  }
}

async function namespaceRemedy(root: boolean): Promise<string> {
  if (root) return 'start outside of a container, or give it CAP_SYS_ADMIN';
  const settings: readonly (readonly [file: string, blocked: string, remedy: string])[] = [
    ['/proc/sys/kernel/unprivileged_userns_clone', '0', 'sysctl -w kernel.unprivileged_userns_clone=1'],
    [
      '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
      '1',
      'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
    ],
    ['/proc/sys/user/max_user_namespaces', '0', 'sysctl -w user.max_user_namespaces=15000'],
  ];
  for (const [file, blocked, remedy] of settings) {
    const value = await readFile(file, 'utf8').catch(() => '');
    if (value.trim() === blocked) return `${remedy} (as root), or run as root`;
  }
  return 'run as root';
}

function kernelIsAtLeast(major: number, minor: number): boolean {
  const [found = 0, below = 0] = release()
    .split('.')
    .map((part) => Number.parseInt(part, 10));
  return found > major || (found === major && below >= minor);
}
