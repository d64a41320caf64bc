import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ControlGroups,
  closedStdio,
  isAlive,
  logSizes,
  type ProcessIdentity,
  processesWithArgument,
  signalProcess,
  startTimeOf,
  toolEnvironment,
  until,
} from '@cloudos/host-tools';
import { CloudosError, type GuestStats, guestContainersMax } from '@cloudos/sdk';
import type { Carrier, QemuEnd, QemuLaunch, QemuRun } from './carrier.ts';
import { daemonArgument, mountsDir } from './mounts.ts';
import { type ContainerLogs, shimScript } from './shim-script.ts';
import { containerDirectory } from './vm-containers.ts';
import { machineDir, type VmStore } from './vm-state.ts';

/** How long the script may take to begin. */
const beginMaxMs = 10_000;
/** How long processes may take to be gone after they were killed, and their control groups to be empty. */
const goneMaxMs = 5_000;
/** The record of an end is shorter: the name of a launch and two numbers. */
const endRecordBytes = 64;

interface RecordedRun {
  readonly launch: string;
  /** The child of the shim: QEMU, or what runs it. */
  readonly child: ProcessIdentity;
  readonly shim: ProcessIdentity;
}

export interface ProcessCarrierOptions {
  readonly kind: string;
  readonly ownNetwork?: boolean;
  readonly store: VmStore;
  readonly groups: ControlGroups;
  readonly logMaxBytes: number;
  /** The command that runs QEMU with the arguments of the launch. */
  readonly command: (run: QemuLaunch) => Promise<readonly string[]>;
  /** The processes join the control groups of the guest; otherwise `command` sees to that. Default true. */
  readonly joinsGroups?: boolean;
  /** Where the command is not QEMU: the process of QEMU, and what is left of it is removed. */
  readonly inner?: { pidFile: string; remove: (name: string) => Promise<void> };
  readonly purged?: () => Promise<void>;
}

/** QEMU below a shell script that waits for it, keeps its consoles and records its end. */
export class ProcessCarrier implements Carrier {
  readonly kind: string;
  readonly ownNetwork: boolean;
  readonly #options: ProcessCarrierOptions;

  constructor(options: ProcessCarrierOptions) {
    this.kind = options.kind;
    this.ownNetwork = options.ownNetwork ?? false;
    this.#options = options;
  }

  async launch(run: QemuLaunch): Promise<void> {
    const { store, groups, joinsGroups = true } = this.#options;
    const { directory, name } = run;
    const made = joinsGroups ? groups.make(name, run.limits, run.requests) : Promise.resolve([]);
    const mounts = run.mounts && mkdir(join(directory, mountsDir), { recursive: true, mode: 0o711 });
    const ready = [made, prepareRun(store, name), mounts, run.plugged];
    // All to their end, also when one fails: what there is of them is cleared behind.
    await Promise.allSettled(ready);
    await Promise.all(ready);
    const script = shimScript({
      launch: run.launch,
      directory,
      child: {
        command: await this.#options.command(run),
        exitFile: join(store.exitsDir, name),
        controlGroups: joinFiles(groups, await made),
        oomFile: joinsGroups ? groups.oomFile(name) : undefined,
        files: run.files,
      },
      shimGroup: groups.shimGroup(),
      logger: store.logger,
      console: run.console,
      logMaxBytes: this.#options.logMaxBytes,
      logSizes: await logSizes(directory),
      containers: await this.#containers(run),
    });
    await startScript(join(directory, 'shim.sh'), script, 'ignore');
  }

  /** Makes the directories that the output of further containers is kept in. */
  async #containers({ containers = [], directory }: QemuLaunch): Promise<ContainerLogs[]> {
    return Promise.all(
      containers.map(async (name) => {
        const own = containerDirectory(directory, name);
        await mkdir(own, { recursive: true, mode: 0o700 });
        for (const file of ['stdout.end', 'stderr.end']) await rm(join(own, file), { force: true });
        return { directory: own, logSizes: await logSizes(own) };
      }),
    );
  }

  async look(name: string, launch: string): Promise<QemuRun> {
    // The order matters: the record of the end is written before the shim is gone.
    const run = this.#run(name);
    const alive = run?.launch === launch && (isAlive(run.child) || isAlive(run.shim));
    const end = this.#end(name);
    if (end?.launch === launch) return { phase: 'ended', end };
    if (run?.launch !== launch) return { phase: 'unborn' };
    if (!alive) {
      // Nobody saw it, whether that is written down or not.
      await this.#writeLost(name, launch).catch(() => {});
      return { phase: 'ended', end: { status: 'lost', oomKills: 0 } };
    }
    const process = this.#process(name, run);
    return { phase: 'running', ...(process ? { process } : {}) };
  }

  async kill(name: string): Promise<void> {
    const run = this.#run(name);
    const process = run && this.#process(name, run);
    if (process) signalProcess(process, 'SIGKILL');
  }

  async clear(name: string): Promise<void> {
    const { store, groups, inner } = this.#options;
    const run = this.#run(name);
    await this.kill(name);
    if (run) await until(goneMaxMs, () => !isAlive(run.child) && !isAlive(run.shim));
    await inner?.remove(name);
    const started = [join(store.directory(name), 'shim.sh'), daemonArgument(store.directory(name))];
    const left = started.flatMap((argument) => processesWithArgument(argument));
    if (run) left.push(run.child, run.shim);
    for (const process of left) signalProcess(process, 'SIGKILL');
    const gone = await until(goneMaxMs, () => left.every((process) => !isAlive(process)) && groups.remove(name));
    if (!gone) {
      throw new CloudosError('HOST_COMMAND_FAILED', `the processes of ${name} are not gone in ${goneMaxMs} ms`);
    }
  }

  async stats(name: string): Promise<GuestStats> {
    const { pids: _threads, ...stats } = this.#options.groups.stats(name);
    return stats;
  }

  watch(ended: (name: string) => void): () => void {
    const watcher = watch(this.#options.store.exitsDir, { persistent: false }, (_, name) => {
      if (name && !String(name).endsWith('.tmp')) ended(String(name));
    });
    watcher.on('error', () => {});
    return () => watcher.close();
  }

  async lastWords(name: string): Promise<string> {
    const directory = this.#options.store.directory(name);
    const said = async (file: string) => (await readFile(join(directory, file), 'utf8').catch(() => '')).trim();
    return `${await said('fs.log')}\n${await said('qemu.log')}`.trim().slice(-2_000);
  }

  async purge(): Promise<void> {
    this.#options.groups.removeParents();
    await this.#options.purged?.();
  }

  #run(name: string): RecordedRun | undefined {
    const text = readText(join(this.#options.store.directory(name), 'run'));
    const [launch, childPid, childStart, shimPid, shimStart, end] = text?.split(/\s+/) ?? [];
    if (end !== 'end' || !launch || !childStart || !shimStart) return undefined;
    return {
      launch,
      child: { pid: Number(childPid), startTime: childStart },
      shim: { pid: Number(shimPid), startTime: shimStart },
    };
  }

  #process(name: string, run: RecordedRun): ProcessIdentity | undefined {
    const { inner, store } = this.#options;
    if (!inner) return run.child;
    const pid = Number(readText(join(store.directory(name), inner.pidFile)) || Number.NaN);
    const startTime = Number.isInteger(pid) ? startTimeOf(pid) : undefined;
    // A pid that is older than the one that wrote it down was used again.
    return startTime !== undefined && Number(startTime) >= Number(run.child.startTime) ? { pid, startTime } : undefined;
  }

  #end(name: string): (QemuEnd & { launch: string }) | undefined {
    const [launch, status, oom] = readText(join(this.#options.store.exitsDir, name))?.split(/\s+/) ?? [];
    if (!launch || status === undefined) return undefined;
    return { launch, status: status === 'lost' ? 'lost' : Number(status), oomKills: Number(oom ?? 0) };
  }

  async #writeLost(name: string, launch: string): Promise<void> {
    const path = join(this.#options.store.exitsDir, name);
    await writeFile(`${path}.tmp`, `${launch} lost 0\n`);
    await rename(`${path}.tmp`, path);
  }
}

/**
 * What a process writes itself into to join groups. Whoever writes to `cgroup.procs` waits until every processor has seen
 * that processes move (5 to 15 ms were measured), not so for `tasks` of v1. A group of v2 that limits and counts nothing
 * is left out: machines are paused by their monitor, not frozen.
 */
function joinFiles({ layout }: ControlGroups, directories: readonly string[]): string[] {
  const isIdle = (directory: string) =>
    layout.v1.cpuacct !== undefined && layout.v2?.controllers.length === 0 && directory.startsWith(layout.v2.parent);
  return directories
    .filter((directory) => !isIdle(directory))
    .map((directory) => join(directory, existsSync(join(directory, 'tasks')) ? 'tasks' : 'cgroup.procs'));
}

/** Removes what an earlier run left in the guest's directory. */
export async function prepareRun(store: VmStore, name: string): Promise<void> {
  const directory = store.directory(name);
  const own = [
    'run',
    'ended',
    'qemu.log',
    'stdout.end',
    'stderr.end',
    'pid',
    'fs.log',
    'fs.end',
    'containers.json',
    'console',
    'console.1',
    'console.end',
  ];
  const left = [
    ...own,
    ...['out', 'err', 'console', 'qmp', 'events', 'agent', 'end'].map((file) => join(machineDir, file)),
  ];
  for (let index = 1; index < guestContainersMax; index++) {
    left.push(join(machineDir, `out${index}`), join(machineDir, `err${index}`));
  }
  // Most runs are the first, and find none of them.
  const found = new Set([
    ...namesIn(directory),
    ...namesIn(join(directory, machineDir)).map((file) => join(machineDir, file)),
  ]);
  const paths = left.filter((file) => found.has(file)).map((file) => join(directory, file));
  await Promise.all([join(store.exitsDir, name), ...paths].map((path) => rm(path, { force: true })));
  // Has its room before it is needed: how QEMU ended is recorded on a full disk, too.
  await writeFile(join(directory, 'ended'), `${' '.repeat(endRecordBytes)}\n`, { mode: 0o600 });
}

/** Writes and runs the script. Resolves when it says that it has begun. */
export async function startScript(file: string, text: string, input: 'ignore' | 'pipe'): Promise<() => void> {
  await writeFile(file, text, { mode: 0o700 });
  const child = spawn('/bin/sh', [file], {
    cwd: '/',
    env: { ...toolEnvironment },
    detached: true,
    stdio: closedStdio([input, 'pipe', 'ignore']),
  });
  await new Promise<void>((resolve, reject) => {
    const failed = (how: string) => {
      if (child.pid !== undefined) {
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {}
      }
      reject(new CloudosError('GUEST_START_FAILED', `the script ${file} ${how}`));
    };
    const timer = setTimeout(() => failed(`did not begin in ${beginMaxMs} ms`), beginMaxMs);
    child.once('error', (error) => failed(`cannot be run: ${error.message}`));
    child.once('exit', (code) => failed(`ended with ${code}`));
    child.stdout?.once('data', () => {
      clearTimeout(timer);
      resolve();
    });
  });
  child.stdout?.destroy();
  child.removeAllListeners('exit');
  child.unref();
  return () => child.stdin?.end();
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
