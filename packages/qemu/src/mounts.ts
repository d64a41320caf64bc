import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CheckedMount, checkMounts, findTool, shellWord } from '@cloudos/host-tools';
import { CloudosError, type GuestMount, type GuestSpec } from '@cloudos/sdk';

/** Paths of the node that one guest may have at the most. */
const mountsMax = 64;
/**
 * In the directory of a guest: an empty directory, below which what runs its machine has a file system in memory that
 * nobody else sees. It goes away with the machine.
 */
export const mountsDir = 'fs';
/** Where the daemon lies: that of its own project (Debian 13), that of QEMU before 8.0 (Debian 12). */
const daemons = ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd'];

/** What of the node one machine sees. */
export interface MachineMounts {
  /** The agent finds them by their number, which is their place here. */
  readonly mounts: readonly CheckedMount[];
}

/** The chardev `fs`, for a device `vhost-user-fs` with the tag `fs`. */
export const mountsChardev: readonly string[] = ['-chardev', `socket,id=fs,path=../${mountsDir}/socket`];

/** Why no path of the node can be mounted in machines here, and what would change it. */
export function mountsObstacle(): { readonly reason: string; readonly remedy: string } | undefined {
  if (process.geteuid?.() !== 0) return { reason: 'mounting needs root', remedy: 'run as root' };
  if (!findTool('perl')) return { reason: 'there is no perl to begin virtiofsd', remedy: 'apt-get install perl-base' };
  if (findDaemon() !== undefined) return undefined;
  return {
    reason: 'virtiofsd is not installed',
    remedy: 'apt-get install virtiofsd (Debian 12: qemu-system-common)',
  };
}

function findDaemon(): string | undefined {
  return daemons.find((path) => existsSync(path));
}

/**
 * What a guest asks for, in the order of its containers: looked up, and allowed.
 * @throws CloudosError GUEST_SPEC_INVALID, HOST_PATH_FORBIDDEN
 */
export async function checkMachineMounts(
  { instance, template }: GuestSpec,
  hostPaths: readonly string[],
): Promise<CheckedMount[]> {
  const asked = mountsOf(template).flat();
  const refuse = (what: string, remedy: string): never => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`, { remedy });
  };
  if (asked.length > mountsMax) {
    refuse(`${asked.length} paths of the node, expected at most ${mountsMax}`, 'mount a directory above them');
  }
  const mounts = await checkMounts(asked, hostPaths);
  const obstacle = mounts.length > 0 ? mountsObstacle() : undefined;
  if (obstacle) refuse(`no path of the node can be mounted: ${obstacle.reason}`, obstacle.remedy);
  return mounts;
}

/** Whether any container of the guest has. */
export function hasMounts({ template }: GuestSpec): boolean {
  return mountsOf(template).some((mounts) => mounts.length > 0);
}

/** Of each container of a guest. */
function mountsOf({ mounts = [], containers = [] }: GuestSpec['template']): (readonly GuestMount[])[] {
  return [mounts, ...containers.map((container) => container.mounts ?? [])];
}

/** What the agent is told of the mounts of one container: number, `ro` or `rw`, where. */
export function mountFields({ template }: GuestSpec, container: number): (readonly ['mount', string])[] {
  const all = mountsOf(template);
  const before = all.slice(0, container).reduce((sum, mounts) => sum + mounts.length, 0);
  return (all[container] ?? []).map(
    ({ target, readOnly }, index) => ['mount', `${before + index} ${readOnly ? 'ro' : 'rw'} ${target}`] as const,
  );
}

/** The argument by which the daemon of a guest is told from every other process. */
export function daemonArgument(directory: string): string {
  return `source=${join(directory, mountsDir, 'share')}`;
}

/**
 * Shell commands for the directory `m` of a guest, in a mount namespace of its own and before privileges are dropped: the
 * paths, each at its number below one directory. What the daemon cannot see it cannot give away; what is read-only for
 * the guest is so for the daemon.
 */
export function mountsScript({ mounts }: MachineMounts): string {
  const root = `../${mountsDir}`;
  const own = mounts.flatMap(({ hostPath, directory, readOnly }, index) => {
    const point = `${root}/share/${index}`;
    return [
      directory ? `mkdir ${point}` : `: >${point}`,
      `mount --bind ${shellWord(hostPath)} ${point}`,
      `mount -o remount,bind,nosuid,nodev${readOnly ? ',ro' : ''} ${point}`,
    ];
  });
  const make = [`mount -t tmpfs -o mode=711,size=1m cloudos ${root}`, `mkdir -m 700 ${root}/share`];
  return [...make, ...own].join(' && ');
}

/**
 * Words before those of QEMU: they begin the daemon beside it, and become QEMU. The socket listens before anybody is
 * told of it. Beside the daemon stays a process that waits for it: a machine whose daemon is gone would wait for its
 * files for ever, so it is ended, and why is written down. A daemon without a machine ends by itself.
 */
export function besideDaemon(directory: string, launch: string, user: number | undefined): string[] {
  const daemon = findDaemon() ?? '';
  const own = daemon.startsWith('/usr/lib/qemu/') ? ['-o', 'modcaps=-mknod'] : ['--modcaps=-mknod'];
  const words = [
    ...[daemon, '-o', daemonArgument(directory), '-o', 'sandbox=namespace', '-o', 'cache=auto'],
    ...['-o', 'announce_submounts', '-o', 'log_level=err', ...own],
  ];
  return [findTool('perl') ?? 'perl', '-e', supervisor, launch, String(user ?? ''), String(words.length), ...words];
}

const supervisor = `
use strict; use warnings; use Socket; use POSIX ();
my ($launch, $user, $count, @words) = @ARGV;
my @daemon = splice @words, 0, $count;
my $path = '../${mountsDir}/socket';
$^F = 255;
umask 077;
socket(my $socket, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!\\n";
bind($socket, pack_sockaddr_un($path)) or die "$path: $!\\n";
chown($user, $user, $path) or die "$path: $!\\n" if $user ne '';
listen($socket, 1) or die "$path: $!\\n";
my $machine = $$;
my $pid = fork;
die "fork: $!\\n" unless defined $pid;
if ($pid) {
  close $socket;
  exec { $words[0] } @words or die "$words[0]: $!\\n";
}
open(STDERR, '>', '../fs.log') and open(STDOUT, '>&', \\*STDERR) or POSIX::_exit(1);
POSIX::close($_) for grep { $_ != fileno $socket } 3 .. 15;
my $daemon = fork;
POSIX::_exit(1) unless defined $daemon;
if (!$daemon) { exec { $daemon[0] } @daemon, '--fd=' . fileno $socket or POSIX::_exit(127) }
close $socket;
waitpid($daemon, 0);
my $status = $?;
for (1 .. 40) {
  exit if getppid != $machine;
  select undef, undef, undef, 0.05;
}
if (open my $file, '>', '../fs.end') {
  print {$file} "$launch $status\\n";
  close $file;
}
kill 'KILL', $machine if getppid == $machine;
`;

/** Why the daemon beside that run ended before its machine; undefined when it did not. */
export async function daemonEnd(directory: string, launch: string | undefined): Promise<string | undefined> {
  const record = await readFile(join(directory, 'fs.end'), 'utf8').catch(() => '');
  const [of, status = ''] = record.trim().split(' ');
  if (launch === undefined || of !== launch) return undefined;
  const said = (await readFile(join(directory, 'fs.log'), 'utf8').catch(() => '')).trim().slice(-500);
  const signal = Number(status) & 0x7f;
  const how = signal ? `by signal ${signal}` : `with ${Number(status) >> 8}`;
  return `what serves the mounts of the guest ended ${how}${said ? `: ${said}` : ''}`;
}
