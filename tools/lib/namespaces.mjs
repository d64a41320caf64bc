// Plain JavaScript, Node built-ins only, as all of tools/lib.
import { spawnSync } from 'node:child_process';

/** Network, processes, mounts, IPC and host name of its own, which end with the command. */
const unshare = [
  ...['--net', '--pid', '--mount', '--ipc', '--uts', '--mount-proc', '--propagation', 'private'],
  ...['--fork', '--kill-child', '--'],
];
/**
 * In them: the loopback interface alone, a /sys that shows this network, the control groups of the machine where they were,
 * and a first process that takes up what nobody waits for.
 */
const begin = `ip link set lo up || exit 125
exec 3</sys/fs/cgroup
mount -t sysfs sysfs /sys || exit 125
mount --no-canonicalize --rbind /proc/self/fd/3 /sys/fs/cgroup || exit 125
exec 3<&-
"$@"
exit $?`;

/** The command line that runs another in namespaces of its own. Control groups and files are those of the machine. */
export function inNamespaces(command, args) {
  return ['unshare', [...unshare, 'sh', '-c', begin, 'sh', command, ...args]];
}

/** True where this user may make them. */
export function namespacesAreThere() {
  if (process.getuid?.() !== 0) return false;
  return spawnSync(...inNamespaces('true', []), { stdio: 'ignore' }).status === 0;
}
