import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chown, copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { digest, findTool, shellWord } from '@cloudos/host-tools';
import { QmpClient } from '@cloudos/qemu';
import { benchGroups, gone, limitLines } from './guest-groups.ts';
import { type BenchNetwork, benchNetwork, shellHook, tapLines } from './guest-network.ts';
import { firstAnswer, type Place, type Tool, type ToolRound } from './guest-rounds.ts';

const run = promisify(execFile);
const barePort = 18_480;
const tap = 'tap0';
/** As the driver has it. */
const user = 1000;
const memoryMax = 112 * 2 ** 20;

/** The machine of the driver, all but how its card is joined with the host. */
function machine(append: string, card: readonly string[]): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-chardev', 'socket,id=qmp,path=qmp,server=on,wait=off', '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', 'file,id=out,path=out,append=on', '-chardev', 'file,id=err,path=err,append=on'],
    ...card,
    ...['-M', 'microvm,acpi=off,x-option-roms=off,rtc=off', '-m', '16384K', '-no-reboot'],
    ...['-accel', 'tcg,tb-size=16', '-cpu', 'qemu64', '-global', 'virtio-mmio.force-legacy=false'],
    ...['-serial', 'chardev:out', '-device', 'isa-serial,iobase=0x2f8,irq=3,chardev=err'],
    ...['-chardev', 'socket,id=hvc0,path=hvc0,server=on,wait=off'],
    ...['-device', 'virtio-serial-device', '-device', 'virtconsole,chardev=hvc0'],
    ...['-device', 'virtio-net-device,netdev=n0', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
    ...['-kernel', 'kernel.elf', '-append', append],
  ];
}

interface Guest {
  readonly name: string;
  readonly directory: string;
  /** The root with QEMU in it that the driver has made. */
  readonly root: string;
  readonly network: BenchNetwork;
  readonly append: string;
  readonly groupParent: string;
}

async function guestOf({ dataDir, stateDir }: Place, elf: string, tool: string, round: number): Promise<Guest> {
  const name = `${tool}-${round < 0 ? 'first' : round}`;
  const directory = path.join(path.dirname(dataDir), name);
  await mkdir(path.join(directory, 'm'), { recursive: true });
  await copyFile(elf, path.join(directory, 'm/kernel.elf'));
  await chown(path.join(directory, 'm'), user, user);
  const root = readdirSync(dataDir).find((entry) => /^qemu-root-\w+$/.test(entry)) ?? '';
  const network = benchNetwork(stateDir);
  const append = `ip=${network.address}/${network.prefix} gw=0.0.0.0 host=bench cwd=/`;
  const groupParent = `cloudos-${digest(dataDir, 10)}`;
  return { name, directory, root: path.join(dataDir, root), network, append, groupParent };
}

/** QEMU by hand: no container, no address of the guest's own, no monitor. */
export function bareTool(elf: string): Tool {
  return {
    name: 'bare-qemu',
    missing: findTool('qemu-system-x86_64') ? undefined : 'apt-get install qemu-system-x86',
    async round(place, round) {
      const { directory } = await guestOf(place, elf, 'bare', round);
      const card = ['-netdev', `user,id=n0,hostfwd=tcp:127.0.0.1:${barePort}-:80`];
      const begun = performance.now();
      const child = spawn('qemu-system-x86_64', machine('ip=10.0.2.15', card), {
        cwd: path.join(directory, 'm'),
        stdio: 'ignore',
      });
      try {
        await firstAnswer('127.0.0.1', barePort);
        return { answerMs: performance.now() - begun, memoryMb: memoryOf(child) };
      } finally {
        child.kill('SIGKILL');
        await once(child, 'exit');
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

/**
 * QEMU by a script of sh, with what the driver gives it without a container: control groups with limits, a tap on the bridge,
 * another user without capabilities.
 */
export function scriptTool(elf: string): Tool {
  return {
    name: 'qemu-by-script',
    missing: findTool('qemu-system-x86_64') ? undefined : 'apt-get install qemu-system-x86',
    async round(place, round) {
      const guest = await guestOf(place, elf, 'script', round);
      const { directory, name, network, append, groupParent } = guest;
      const groups = benchGroups(groupParent);
      const link = linkOf(name, groupParent);
      const card = ['-netdev', `tap,id=n0,ifname=${link},script=no,downscript=no`];
      const identity = ['--reuid', String(user), '--regid', String(user), '--clear-groups'];
      const nothing = ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs'];
      const qemu = ['setpriv', ...identity, ...nothing, 'qemu-system-x86_64', ...machine(append, card)];
      const device = 'mount -t tmpfs -o mode=755,size=64k tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200';
      const directories = groups.directories(name).map(shellWord);
      const script = `set -e
cd ${shellWord(`${directory}/m`)}
mkdir ${directories.join(' ')}
${limitLines(groups, name, { memoryBytes: memoryMax, pids: 256, cpuMillis: 0 })}
ip -batch - <<NET
tuntap add dev ${link} mode tap user ${user}
link set dev ${link} master ${network.bridge} up
NET
( ${directories.map((group) => `echo 0 >${group}/cgroup.procs`).join('; ')}
  exec unshare --mount --propagation private sh -c ${shellWord(`${device} && exec "$@"`)} sh ${qemu.map(shellWord).join(' ')} ) </dev/null >../log 2>&1 &
echo $! >../pid`;
      const begun = performance.now();
      try {
        await run('/bin/sh', ['-c', script]);
        await firstAnswer(network.address, 80);
        return { answerMs: performance.now() - begun };
      } finally {
        process.kill(Number(readFileSync(path.join(directory, 'pid'), 'utf8')), 'SIGKILL');
        await gone(() => groups.remove(name));
        await run('ip', ['link', 'delete', link]);
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

/** `runc run` of the container that the driver makes, with its command of QEMU; the tap is there before QEMU is. */
export function runcTool(elf: string): Tool {
  return {
    name: 'runc',
    missing: findTool('runc') ? undefined : 'apt-get install runc',
    async round(place, round): Promise<ToolRound> {
      const guest = await guestOf(place, elf, 'runc', round);
      const { directory, name, network } = guest;
      const runc = (...args: string[]) => run('runc', ['--root', path.join(directory, 'state'), ...args]);
      const begun = performance.now();
      try {
        await writeFile(path.join(directory, 'config.json'), JSON.stringify(runcConfig(guest)));
        const { child } = runc('run', '--detach', '--bundle', directory, name);
        child.stdin?.end();
        await firstAnswer(network.address, 80);
        return { answerMs: performance.now() - begun };
      } finally {
        await runc('delete', '--force', name).catch(() => {});
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

function runcConfig({ name, directory, root, network, append, groupParent }: Guest): object {
  const none = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
  const hidden = ['nosuid', 'noexec', 'nodev'];
  const card = ['-netdev', `tap,id=n0,ifname=${tap},script=no,downscript=no`];
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: user, gid: user },
      args: ['/usr/bin/qemu-system-x86_64', ...machine(append, card)],
      env: ['PATH=/usr/bin', 'LC_ALL=C'],
      cwd: '/guest',
      capabilities: none,
      noNewPrivileges: true,
    },
    root: { path: root, readonly: true },
    hostname: 'qemu',
    hooks: { prestart: [shellHook(tapLines(linkOf(name, groupParent), network, tap, user))] },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: hidden },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'mode=755', 'size=64k'] },
      { destination: '/guest', type: 'bind', source: path.join(directory, 'm'), options: ['bind', 'rw', ...hidden] },
    ],
    linux: {
      cgroupsPath: `/${groupParent}/${name}`,
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/sched_debug', '/proc/timer_list', '/proc/scsi'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      devices: [{ path: '/dev/net/tun', type: 'c', major: 10, minor: 200, fileMode: 0o666, uid: 0, gid: 0 }],
      resources: {
        devices: [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'c', major: 10, minor: 200, access: 'rw' },
        ],
        memory: { limit: memoryMax, swap: memoryMax },
        pids: { limit: 256 },
      },
    },
  };
}

/**
 * `docker run` of the image that the driver has made, with its command of QEMU. An engine has no hook before the program:
 * as the driver does, the tap is plugged in by the monitor of a QEMU that waits for it.
 */
export function dockerTool(elf: string, socket: string): Tool {
  const docker = async (...args: string[]) =>
    (await run('docker', ['--host', `unix://${socket}`, ...args])).stdout.trim();
  return {
    name: 'docker',
    missing: findTool('docker') ? undefined : 'apt-get install docker.io',
    async round(place, round) {
      const guest = await guestOf(place, elf, 'docker', round);
      const { directory, name, network, append, groupParent } = guest;
      const image = `cloudos-qemu:${guest.root.slice(guest.root.lastIndexOf('-') + 1)}`;
      const hub = ['-netdev', 'hubport,id=n0,hubid=0', '-netdev', 'hubport,id=h0,hubid=0'];
      const given = ['--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--read-only', '--network', 'none'];
      const limits = ['--memory', String(memoryMax), '--memory-swap', String(memoryMax), '--pids-limit', '256'];
      const places = ['--volume', `${directory}/m:/guest`, '--workdir', '/guest', '--user', `${user}:${user}`];
      const device = ['--device', `${path.join(place.dataDir, 'tun')}:/dev/net/tun:rw`];
      const begun = performance.now();
      try {
        const words = [...given, ...limits, ...places, ...device, '--entrypoint', '/usr/bin/qemu-system-x86_64', image];
        await docker('run', '--detach', '--name', name, ...words, ...machine(append, hub), '-S');
        const pid = await docker('inspect', '--format', '{{.State.Pid}}', name);
        const lines = `set -e\npid=${pid}\n${tapLines(linkOf(name, groupParent), network, tap, user)}`;
        await run('/bin/sh', ['-c', lines]);
        await resume(path.join(directory, 'm/qmp'));
        await firstAnswer(network.address, 80);
        return { answerMs: performance.now() - begun };
      } finally {
        await docker('rm', '--force', name).catch(() => {});
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}

async function resume(monitor: string): Promise<void> {
  const qmp = await QmpClient.connect(monitor);
  await qmp.execute('netdev_add', { type: 'tap', id: 't0', ifname: tap, script: 'no', downscript: 'no' });
  await qmp.execute('netdev_add', { type: 'hubport', id: 'h1', hubid: 0, netdev: 't0' });
  await qmp.execute('cont');
  qmp.close();
}

function linkOf(name: string, groupParent: string): string {
  return `bn${digest(`${groupParent}/${name}`, 10)}`;
}

/** Proportional memory of a process. */
function memoryOf({ pid }: ChildProcess): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return (Number(/^Pss:\s+(\d+)/m.exec(text)?.[1]) * 1024) / 1e6;
}
