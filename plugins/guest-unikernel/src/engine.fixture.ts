import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, runCommand, startTimeOf, unmountBelow } from '@cloudos/host-tools';
import Docker from 'dockerode';

const upMaxMs = 60_000;

/** A Docker Engine of the specs' own, apart from any other of the machine. */
export interface TestEngine {
  readonly socket: string;
  /** Ends the daemon without its containers (`--live-restore`), and starts it again. */
  restart(): Promise<void>;
  /** The ids of all containers that it has. */
  containers(): Promise<string[]>;
  remove(): Promise<void>;
}

export function engineIsMissing(): string | undefined {
  if (process.geteuid?.() !== 0) return 'a Docker Engine needs root';
  return findTool('dockerd') ? undefined : 'there is no dockerd: apt-get install docker.io';
}

export async function startEngine(): Promise<TestEngine> {
  const directory = mkdtempSync(join(tmpdir(), 'ck-engine-'));
  const socket = join(directory, 's');
  const flags = ['--bridge=none', '--iptables=false', '--ip-masq=false', '--userland-proxy=false', '--live-restore'];
  const places = [
    '--data-root',
    join(directory, 'd'),
    '--exec-root',
    join(directory, 'e'),
    '-p',
    join(directory, 'pid'),
  ];
  let daemon: ChildProcess;
  const up = async () => {
    await rm(join(directory, 'pid'), { force: true });
    // Its containerd ends with it. Where nobody reaps, the next dockerd would take the zombie for a daemon that runs.
    const containerd = join(directory, 'e/containerd/containerd.pid');
    const pid = Number(await readFile(containerd, 'utf8').catch(() => 0));
    if (startTimeOf(pid) === undefined) await rm(containerd, { force: true });
    const program = findTool('dockerd') ?? 'dockerd';
    daemon = spawn(program, [...flags, ...places, '-H', `unix://${socket}`], { stdio: 'ignore', detached: true });
    const deadline = Date.now() + upMaxMs;
    while (!(await answers(socket))) {
      if (Date.now() > deadline) throw new Error(`dockerd does not answer in ${upMaxMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const down = async (signal: NodeJS.Signals) => {
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    const ended = once(daemon, 'exit', { signal: AbortSignal.timeout(upMaxMs) });
    daemon.kill(signal);
    await ended;
  };
  await up();
  return {
    socket,
    restart: async () => {
      await down('SIGKILL');
      await up();
    },
    containers: async () => {
      const containers = await new Docker({ socketPath: socket }).listContainers({ all: true });
      return containers.map(({ Id }) => Id).sort();
    },
    remove: async () => {
      await down('SIGTERM');
      await unmountBelow(directory);
      await rm(directory, { recursive: true, force: true }).catch(() => runCommand('rm', ['-rf', directory]));
    },
  };
}

function answers(socketPath: string): Promise<boolean> {
  return new Docker({ socketPath }).ping().then(
    () => true,
    () => false,
  );
}
