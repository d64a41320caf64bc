import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { type ControlGroups, digest, findTool, shellWord } from '@cloudos/host-tools';
import { benchGroups, gone, limitLines } from './guest-groups.ts';
import { type BenchNetwork, benchNetwork, cableLines, shellHook } from './guest-network.ts';
import { firstAnswer, type Place, type Tool, type ToolRound } from './guest-rounds.ts';

const run = promisify(execFile);

/** Of the zones, and of what is made by hand beside them. */
export const benchLimits = { memoryBytes: 64 * 2 ** 20, pids: 64, cpuMillis: 1_000, diskBytes: 0 };
/** The most of what the filter of a zone refuses too. */
const refusedCalls =
  'mount umount2 pivot_root setns unshare bpf keyctl add_key reboot kexec_load init_module swapon quotactl';

interface Job {
  readonly name: string;
  readonly directory: string;
  readonly root: string;
  readonly network: BenchNetwork;
  readonly groups: ControlGroups;
  /** Name of the parent of the control groups, which the driver removes in the end. */
  readonly groupParent: string;
}

/** `runc run` of the same root: overlay, namespaces, control groups, cable, no capability, a filter of system calls. */
export function runcTool(root: () => string): Tool {
  return {
    name: 'runc',
    missing: findTool('runc') ? undefined : 'apt-get install runc',
    round: async (place, round) => runRunc(await jobOf(place, root(), `runc-${round < 0 ? 'first' : round}`)),
  };
}

/**
 * `unshare` with all that a zone has around it, by a script of sh: overlay, namespaces, control groups, cable. Without what
 * takes tools inside of the root: its program keeps the capabilities and is not filtered. Nobody keeps logs or its end.
 */
export function unshareTool(root: () => string): Tool {
  return {
    name: 'unshare',
    round: async (place, round) => runUnshare(await jobOf(place, root(), `unshare-${round < 0 ? 'first' : round}`)),
  };
}

async function jobOf({ dataDir, stateDir }: Place, root: string, name: string): Promise<Job> {
  const groupParent = `cloudos-${digest(dataDir, 10)}`;
  const directory = path.join(path.dirname(dataDir), name);
  return { name, directory, root, network: benchNetwork(stateDir), groups: benchGroups(groupParent), groupParent };
}

async function runRunc(job: Job): Promise<ToolRound> {
  const { name, directory, root, network } = job;
  const overlay = `lowerdir=${root},upperdir=upper,workdir=work`;
  const script = [
    'set -e',
    `mkdir -p ${shellWord(directory)}`,
    `cd ${shellWord(directory)}`,
    'mkdir upper work rootfs',
    `mount -t overlay -o ${shellWord(overlay)} overlay rootfs`,
    'cat >config.json',
    `exec runc --root ${shellWord(`${directory}/state`)} run --detach --bundle . ${name} </dev/null >out 2>err`,
  ].join('\n');
  try {
    const taken = await timed(script, network, JSON.stringify(runcConfig(job)));
    return { ...taken, memoryMb: (job.groups.stats(name).memoryBytes ?? 0) / 1e6 };
  } finally {
    await run('runc', ['--root', `${directory}/state`, 'delete', '--force', name]).catch(() => {});
    await run('umount', [`${directory}/rootfs`]).catch(() => {});
    await gone(() => job.groups.remove(name));
    await rm(directory, { recursive: true, force: true });
  }
}

function runcConfig({ name, network, groupParent }: Job): object {
  const none = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
  const hidden = ['nosuid', 'noexec', 'nodev'];
  const { memoryBytes, pids, cpuMillis } = benchLimits;
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/counter'],
      env: ['PATH=/'],
      cwd: '/',
      capabilities: none,
      noNewPrivileges: true,
    },
    root: { path: 'rootfs' },
    hostname: 'bench',
    hooks: { prestart: [shellHook(cableLines(linkOf(name, groupParent), network))] },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: hidden },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
      { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...hidden, 'mode=1777', 'size=64m'] },
    ],
    linux: {
      cgroupsPath: `/${groupParent}/${name}`,
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network', 'cgroup'].map((type) => ({ type })),
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0' },
      maskedPaths: [
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/timer_list',
        '/proc/sched_debug',
        '/proc/scsi',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      resources: {
        devices: [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'c', access: 'rwm' },
        ],
        memory: { limit: memoryBytes, swap: memoryBytes },
        cpu: { period: 100_000, quota: cpuMillis * 100 },
        pids: { limit: pids },
      },
      seccomp: {
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: ['SCMP_ARCH_X86_64'],
        syscalls: [{ names: refusedCalls.split(' '), action: 'SCMP_ACT_ERRNO' }],
      },
    },
  };
}

async function runUnshare(job: Job): Promise<ToolRound> {
  const { name, directory, root, network, groups, groupParent } = job;
  const overlay = `lowerdir=${root},upperdir=upper,workdir=work`;
  const namespaces = '--mount --propagation private --net --uts --ipc --cgroup --pid --fork --kill-child';
  const directories = groups.directories(name).map(shellWord);
  const inner = `echo made >up
hostname bench
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
mount -t overlay -o ${shellWord(overlay)} overlay merged
mkdir merged/proc merged/dev
mount -t proc -o nosuid,nodev,noexec proc merged/proc
mount -t tmpfs -o nosuid,mode=755,size=64k tmpfs merged/dev
mkdir merged/dev/pts merged/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,nosuid,noexec devpts merged/dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777,size=64m tmpfs merged/dev/shm
for name in null zero full random urandom tty; do : >merged/dev/$name; mount --bind /dev/$name merged/dev/$name; done
read -r word <go
echo running >up
exec chroot merged /counter`;
  const script = `set -e
mkdir -p ${shellWord(directory)}
cd ${shellWord(directory)}
mkdir upper work merged
mkdir ${directories.join(' ')}
${limitLines(groups, name, benchLimits)}
mkfifo up go
( ${directories.map((group) => `echo 0 >${group}/cgroup.procs`).join('; ')}
  exec unshare ${namespaces} sh -c ${shellWord(inner)} ) </dev/null >out 2>err &
pid=$!
echo $pid >pid
read -r word <up
${cableLines(linkOf(name, groupParent), network)}
echo go >go
read -r word <up`;
  try {
    const taken = await timed(script, network, '');
    return { ...taken, memoryMb: (groups.stats(name).memoryBytes ?? 0) / 1e6 };
  } finally {
    process.kill(Number(readFileSync(path.join(directory, 'pid'), 'utf8')), 'SIGKILL');
    await gone(() => groups.remove(name));
    await rm(directory, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** Runs the script and asks the address for the first answer. */
async function timed(script: string, { address }: BenchNetwork, input: string): Promise<ToolRound> {
  const begun = performance.now();
  const started = run('/bin/sh', ['-c', script], { timeout: 30_000 });
  started.child.stdin?.end(input);
  await started;
  const startMs = performance.now() - begun;
  await firstAnswer(address, 80);
  return { startMs, answerMs: performance.now() - begun };
}

function linkOf(name: string, groupParent: string): string {
  return `bn${digest(`${groupParent}/${name}`, 10)}`;
}
