import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { digest, findTool, runCommand } from '@cloudos/host-tools';
import { machineDir, ProcessCarrier, type QemuLaunch, type VmHost } from '@cloudos/qemu';
import { qemuInRoot, qemuRoot } from './qemu-root.ts';

const pidFile = 'pid';
const bundleDir = 'bundle';

/** QEMU in an OCI container made by runc, without an engine (OCI runtime specification 1.0). */
export function runcCarrier(host: VmHost, runc: string): ProcessCarrier {
  const { dataDir } = host.context;
  // The state of runc's containers lies in memory: it means nothing after a boot.
  const state = join('/run', `cloudos-runc-${digest(dataDir, 10)}`);
  // A node that only looks at what it has makes nothing.
  const prepare = async () => {
    await mkdir(state, { recursive: true, mode: 0o700 });
    return qemuRoot(host.qemu.path, dataDir);
  };
  const runcArguments = ['--root', state];
  return new ProcessCarrier({
    kind: 'runc',
    ownNetwork: true,
    store: host.store,
    groups: host.groups,
    logMaxBytes: host.config.logs.maxBytes,
    joinsGroups: false,
    command: async (run) => {
      const root = await prepare();
      const bundle = join(run.directory, bundleDir);
      await mkdir(bundle, { recursive: true, mode: 0o700 });
      await writeFile(join(bundle, 'config.json'), JSON.stringify(containerConfig(host, root.path, run)));
      const own = ['--bundle', bundle, '--pid-file', join(run.directory, pidFile), run.name];
      return [runc, ...runcArguments, 'run', ...own];
    },
    inner: {
      pidFile,
      remove: async (name) => {
        await runCommand(runc, [...runcArguments, 'delete', '--force', name]).catch(() => {});
      },
    },
    purged: () => rm(state, { recursive: true, force: true }),
  });
}

export function findRunc(): string | undefined {
  return findTool('runc');
}

/** No capability, no way to get one, nothing to write to but the machine's directory, no device but the one for taps. */
function containerConfig(host: VmHost, root: string, run: QemuLaunch): object {
  const { user } = host.config;
  const none = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
  const hidden = ['nosuid', 'noexec', 'nodev'];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: user, gid: user },
      args: [qemuInRoot, ...run.args],
      env: ['PATH=/usr/bin', 'LC_ALL=C'],
      cwd: '/guest',
      capabilities: none,
      noNewPrivileges: true,
    },
    root: { path: root, readonly: true },
    hostname: 'qemu',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: hidden },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'mode=755', 'size=64k'] },
      {
        destination: '/guest',
        type: 'bind',
        source: join(run.directory, machineDir),
        options: ['bind', 'rw', ...hidden],
      },
    ],
    linux: {
      cgroupsPath: groupPath(host, run.name),
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/sched_debug', '/proc/timer_list', '/proc/scsi'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      devices: [{ path: '/dev/net/tun', type: 'c', major: 10, minor: 200, fileMode: 0o666, uid: 0, gid: 0 }],
      resources: resources(run),
    },
  };
}

function resources({ limits, requests }: QemuLaunch): object {
  const shares = Math.min(262_144, Math.max(2, Math.round((requests.cpuMillis * 1024) / 1000)));
  const quota =
    limits.cpuMillis > 0 ? { period: 100_000, quota: Math.max(1000, Math.round(limits.cpuMillis * 100)) } : {};
  return {
    devices: [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 10, minor: 200, access: 'rw' },
    ],
    memory: { limit: limits.memoryBytes, swap: limits.memoryBytes },
    cpu: { shares, ...quota },
    pids: { limit: limits.pids },
  };
}

/** Beside the groups that the driver would make itself, so that they are measured and removed alike. */
function groupPath({ groups }: VmHost, name: string): string {
  const { v1, v2 } = groups.layout;
  const parent = v1.memory ?? v1.cpu ?? v1.pids ?? v2?.parent ?? 'cloudos';
  return `/${basename(parent)}/${name}`;
}
