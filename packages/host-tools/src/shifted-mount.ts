import { CloudosError } from '@cloudos/sdk';
import { findTool, runCommand } from './host-command.ts';

export interface ShiftedMount {
  /** A file or directory, without symbolic links. */
  readonly source: string;
  /** What is there already: a file for a file, a directory for a directory. */
  readonly target: string;
  readonly readOnly: boolean;
  /** The user and group of the node that 0 of the source appears as, and how many from there on. */
  readonly base: number;
  readonly count: number;
}

/** System calls have the same numbers everywhere since Linux 5.1; unshare(2) is older. */
const unshareNumbers: Readonly<Record<string, number>> = { x64: 272, arm64: 97 };

/**
 * A clone of the source, its owners mapped by a user namespace that lives as long as it takes, is put at the target
 * (mount_setattr(2), "ID-mapped mounts"). perl-base, which is always there on Debian and Ubuntu, can make system calls; mount(8)
 * has an option for it from util-linux 2.39 on only. Set-user-id programs and devices mean nothing on it.
 */
const script = `
use strict; use warnings;
my ($source, $target, $readOnly, $base, $count, $unshare) = @ARGV;
sub fail { print STDERR "$_[0]: $!\\n"; exit 1 }
pipe(my $ready, my $tell) or fail('pipe');
pipe(my $wait, my $end) or fail('pipe');
my $pid = fork;
fail('fork') unless defined $pid;
if (!$pid) {
  close $end;
  syscall(0 + $unshare, 0x10000000) == 0 or fail('unshare');
  syswrite($tell, 'x');
  sysread($wait, my $none, 1);
  exit 0;
}
close $tell;
sysread($ready, my $word, 1) or fail('no user namespace');
for my $map ('uid_map', 'gid_map') {
  open(my $file, '>', "/proc/$pid/$map") or fail($map);
  syswrite($file, "0 $base $count") or fail($map);
}
open(my $namespace, '<', "/proc/$pid/ns/user") or fail('namespace');
my $empty = '';
my $tree = syscall(428, -100, $source, 0x80001);
fail("open_tree $source") if $tree < 0;
my $attributes = pack('Q4', 0x100000 | 2 | 4 | ($readOnly ? 1 : 0), 0, 0, fileno $namespace);
syscall(442, $tree, $empty, 0x1000, $attributes, length $attributes) == 0 or fail('mount_setattr');
syscall(429, $tree, $empty, -100, $target, 4) == 0 or fail("move_mount $target");
close $end;
waitpid($pid, 0);
`;

/** Why paths of the node cannot be mounted with other owners on this machine, and what would change it. */
export function shiftedMountObstacle(): { readonly reason: string; readonly remedy: string } | undefined {
  if (process.geteuid?.() !== 0) return { reason: 'mounting needs root', remedy: 'run as root' };
  if (!findTool('perl'))
    return { reason: 'there is no perl to make the system calls', remedy: 'apt-get install perl-base' };
  if (unshareNumbers[process.arch] === undefined) {
    return { reason: `the system calls of ${process.arch} are not known`, remedy: 'use another runtime for mounts' };
  }
  return undefined;
}

/** @throws CloudosError HOST_COMMAND_FAILED where the kernel or the file system has no such mounts (Linux 5.12, ext4 and xfs) */
export async function mountShifted({ source, target, readOnly, base, count }: ShiftedMount): Promise<void> {
  const obstacle = shiftedMountObstacle();
  if (obstacle) throw new CloudosError('HOST_COMMAND_FAILED', obstacle.reason, { remedy: obstacle.remedy });
  const words = [
    source,
    target,
    readOnly ? '1' : '',
    String(base),
    String(count),
    String(unshareNumbers[process.arch]),
  ];
  await runCommand(findTool('perl') ?? 'perl', ['-', ...words], { input: script });
}
