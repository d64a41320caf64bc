import { execFile } from 'node:child_process';
import type { Outcome } from './kernel-process.ts';

/** How a machine differs from the one at hand. */
export interface OtherMachine {
  /** Commands that it does not have. */
  readonly without?: readonly string[];
  /** Scripts of sh that are found in place of commands of these names. */
  readonly instead?: Readonly<Record<string, string>>;
}

/** Where commands are looked for; the first is where they are found first. Incus keeps its daemon in the last. */
const directories = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/usr/libexec/incus',
];

/**
 * In a mount namespace, where nobody else sees it: overlays over the directories of commands, in which those that the
 * machine does not have are removed, and devices with one for KVM, whatever it is worth.
 */
const script = `
set -e
without=$1 instead=$2
shift 2
work=$(mktemp -d)
mount -t tmpfs other-machine "$work"
for directory in $(readlink -f ${directories.join(' ')} | sort -u); do
  [ -d "$directory" ] || continue
  mkdir -p "$work/upper$directory" "$work/work$directory"
  layers="lowerdir=$directory,upperdir=$work/upper$directory,workdir=$work/work$directory"
  mount -t overlay overlay -o "$layers" "$directory"
  for command in $without; do rm -f "$directory/$command"; done
done
eval "$instead"
mkdir "$work/dev"
for device in null zero full random urandom loop-control; do
  [ -e "/dev/$device" ] || continue
  : >"$work/dev/$device"
  mount --bind "/dev/$device" "$work/dev/$device"
done
: >"$work/dev/kvm"
mount --rbind "$work/dev" /dev
umount -l "$work"
rmdir "$work"
exec "$@"`;

/** Runs a command on such a machine. Needs root. */
export function onMachine(machine: OtherMachine, command: readonly string[]): Promise<Outcome> {
  const put = Object.entries(machine.instead ?? {}).map(([name, text]) => {
    const path = `${directories[0]}/${name}`;
    return `cat >${path} <<'END'\n#!/bin/sh\n${text}\nEND\nchmod 755 ${path}`;
  });
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', (machine.without ?? []).join(' ')];
  const options = { timeout: 120_000, env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' } };
  return new Promise((resolve) => {
    execFile('unshare', [...args, put.join('\n'), ...command], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, stdout, stderr });
    });
  });
}
