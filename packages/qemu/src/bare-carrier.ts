import { statSync } from 'node:fs';
import { findTool } from '@cloudos/host-tools';
import type { QemuLaunch } from './carrier.ts';
import { besideDaemon, mountsScript } from './mounts.ts';
import { ProcessCarrier } from './process-carrier.ts';
import type { VmHost } from './vm-plugin.ts';

/**
 * QEMU as a process of the host, without capabilities and without a way to get any, in control groups of its own; as
 * root it becomes another user first.
 */
export function bareCarrier(host: VmHost): ProcessCarrier {
  return new ProcessCarrier({
    kind: 'bare',
    store: host.store,
    groups: host.groups,
    logMaxBytes: host.config.logs.maxBytes,
    command: async (run) => bareCommand(host, run),
  });
}

const tun = '/dev/net/tun';
/** Its user may not open the device of taps: it gets one of its own, at the place where QEMU looks, seen by nobody else. */
const tapScript = `mount -t tmpfs -o mode=755,size=64k tmpfs /dev/net && mknod -m 666 ${tun} c 10 200`;

function bareCommand(host: VmHost, run: QemuLaunch): string[] {
  const dropped = withoutPrivileges(host, [host.qemu.path, ...run.args]);
  if (host.rootless) return dropped;
  const { user } = host.config;
  const own = [
    ...(run.tap === undefined || isOpenToAll(tun) ? [] : [tapScript]),
    ...(run.mounts ? [mountsScript(run.mounts)] : []),
  ];
  if (own.length === 0) return dropped;
  return [
    findTool('unshare') ?? 'unshare',
    '--mount',
    '--propagation',
    'private',
    '/bin/sh',
    '-c',
    [...own, 'exec "$@"'].join(' && '),
    'sh',
    ...(run.mounts ? besideDaemon(run.directory, run.launch, user) : []),
    ...dropped,
  ];
}

/** The command as the user of machines, without capabilities; as it is where the driver is not root. */
export function withoutPrivileges(
  { rootless, config, accelerator }: Pick<VmHost, 'rootless' | 'config' | 'accelerator'>,
  command: readonly string[],
): string[] {
  if (rootless) return [...command];
  const groups = accelerator.accelerator === 'kvm' ? ['--groups', String(kvmGroup())] : ['--clear-groups'];
  const identity = ['--reuid', String(config.user), '--regid', String(config.user), ...groups];
  const nothing = ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs'];
  return [findTool('setpriv') ?? 'setpriv', ...identity, ...nothing, ...command];
}

function kvmGroup(): number {
  try {
    return statSync('/dev/kvm').gid;
  } catch {
    return 0;
  }
}

function isOpenToAll(path: string): boolean {
  try {
    return (statSync(path).mode & 0o006) === 0o006;
  } catch {
    return false;
  }
}
