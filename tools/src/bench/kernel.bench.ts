import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootKernel, parseStack, snapshotKeyOf } from '@cloudos/kernel';
import { checkConfig, loadPlugin } from '@cloudos/plugin-bus';
import { event, type NewEvent, type Snapshot } from '@cloudos/sdk';
import { openBareLog } from './bare-log.ts';
import type { Bench, BenchOptions } from './bench.ts';
import { median } from './figures.ts';

const bench: Bench = {
  prefix: 'kernel',
  async run(options) {
    await restart(options);
    await idle(options);
  },
};
export default bench;

/** The checkout. */
const root = new URL('../../../', import.meta.url);

/** Instances that are alive at the end of the written history. */
const alive = 1_000;

/** From a log with a snapshot to a kernel that is level with the head; beside it, reading the snapshots alone. */
async function restart({ quick, workDir, progress, report }: BenchOptions): Promise<void> {
  const total = quick ? 50_000 : 1_000_000;
  const stateDir = path.join(workDir, 'restart');
  progress(`writing ${total} events`);
  await writeHistory(path.join(stateDir, 'log-lmdb'), total);
  const stack = simulatedStack();
  progress('first boot, which leaves snapshots');
  await (await bootKernel({ stack, stateDir })).stop();

  const snapshotMs: number[] = [];
  const bootMs: number[] = [];
  for (let round = 0; round < 3; round++) {
    progress(`restart ${round + 1} of 3`);
    snapshotMs.push(await timed(() => loadSnapshots(path.join(stateDir, 'log-lmdb'))));
    const holder: { stop?: () => Promise<void> } = {};
    bootMs.push(
      await timed(async () => {
        const kernel = await bootKernel({ stack, stateDir });
        await kernel.view();
        holder.stop = () => kernel.stop();
      }),
    );
    await holder.stop?.();
  }
  const [value, bound] = [median(bootMs), median(snapshotMs)];
  report({
    name: 'kernel.restart',
    value,
    unit: 'ms',
    bound,
    ratio: value / bound,
    target: `< 1 s more than the snapshots alone (${total} events)`,
    met: quick ? null : value - bound < 1_000,
  });
}

async function loadSnapshots(dir: string): Promise<void> {
  const { log, close } = await openBareLog(dir);
  const policies = await Promise.all(['resources-borg', 'orchestrator-kubernetes'].map(policySnapshotKey));
  for (const key of ['kernel/cluster', ...policies]) {
    const found: (Snapshot | undefined)[] = [];
    for (let version = 1; version < 10; version++) found.push(await log.snapshots.load(key, version));
    if (!found.some((snapshot) => snapshot !== undefined)) throw new Error(`the first boot left no snapshot ${key}`);
  }
  await close();
}

async function policySnapshotKey(name: string): Promise<string> {
  const plugin = await loadPlugin(name, fileURLToPath(root));
  return snapshotKeyOf({ plugin, config: checkConfig(plugin.definition, {}) });
}

/** Lives of instances from the request to the removal; the last ones are still alive. */
async function writeHistory(dir: string, total: number): Promise<void> {
  const { log, close } = await openBareLog(dir);
  const requests = { cpuMillis: 100, memoryBytes: 2 ** 26, diskBytes: 0, pids: 0 };
  const limits = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
  const node = 'n-1';
  await log.append(
    'orchestrator',
    [
      event('WorkloadDeclared', {
        workload: 'default/old',
        kind: 'Deployment',
        revision: 1,
        replicas: alive,
        strategy: { kind: 'recreate' },
        priority: 100,
        constraints: [],
        minReadyMs: 0,
        progressDeadlineMs: 600_000,
        labels: { app: 'old' },
        template: {
          image: 'host:',
          command: ['sleep'],
          env: [],
          ports: [],
          requests,
          limits,
          restart: 'always',
          stopGraceMs: 1_000,
          readOnlyRoot: false,
          labels: { app: 'old' },
        },
      }),
    ],
    'any',
  );
  const perInstance = 6;
  for (let from = 0; from < total / perInstance; from += 500) {
    const streams: Record<string, NewEvent[]> = { orchestrator: [], resources: [], [`node-${node}`]: [] };
    const gone: NewEvent[] = [];
    for (let at = from; at < Math.min(from + 500, total / perInstance); at++) {
      const instance = `old-${at.toString(36)}`;
      const about = { instance, node };
      streams.orchestrator?.push(
        event('InstanceRequested', { instance, workload: 'default/old', revision: 1, requests, priority: 100 }),
      );
      streams.resources?.push(event('InstancePlaced', about));
      streams[`node-${node}`]?.push(
        event('GuestCreated', { ...about, runtime: 'simulated', handle: instance }),
        event('GuestStarted', { ...about, runtime: 'simulated', attempt: 1 }),
      );
      if (at >= total / perInstance - alive) continue;
      gone.push(event('GuestRemoved', about));
      streams.orchestrator?.push(event('InstanceWithdrawn', { instance, reason: 'old', drainMs: 0, graceMs: 0 }));
    }
    for (const [stream, events] of Object.entries(streams))
      if (events.length > 0) await log.append(stream, events, 'any');
    if (gone.length > 0) await log.append(`node-${node}`, gone, 'any');
  }
  await close();
}

function simulatedStack() {
  const node = { name: 'n', count: 10, host: 'host-simulated', guests: ['guest-simulated'] };
  const slots = {
    log: 'log-lmdb',
    resources: 'resources-borg',
    orchestrator: 'orchestrator-kubernetes',
    nodes: [node],
  };
  return parseStack(JSON.stringify({ apiVersion: 'cloudos/v1', kind: 'Stack', name: 'bench', ...slots }), 'bench.yaml');
}

/** What a kernel with the default stack takes while nothing happens, beside a bare Node process. */
async function idle({ quick, workDir, progress, report }: BenchOptions): Promise<void> {
  const stateDir = path.join(workDir, 'idle');
  const cli = path.join(fileURLToPath(root), 'packages/cli/bin/cloudos.mjs');
  const stack = path.join(fileURLToPath(root), 'packages/distributions/local/stack.yaml');
  const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1 << 30)'], { stdio: 'ignore' });
  const kernel = spawn(process.execPath, [cli, 'up', '--stack', stack, '--state-dir', stateDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  kernel.stdout?.resume();
  try {
    await waitFor(() => readFileSync(path.join(stateDir, 'endpoint.json')).length > 0);
    // What it was started with is compiled and collected in the first seconds.
    await sleep(quick ? 1_000 : 15_000);
    // Long enough that one collection of everything, a tenth of a second of work, is not mistaken for what idling takes.
    const seconds = quick ? 2 : 60;
    progress(`watching an idle kernel for ${seconds} s`);
    const before = { kernel: cpuSeconds(kernel), wakeUps: wakeUps(kernel), bareWakeUps: wakeUps(bare) };
    await sleep(seconds * 1_000);
    const share = ((cpuSeconds(kernel) - before.kernel) / seconds) * 100;
    const woken = (wakeUps(kernel) - before.wakeUps) / seconds;
    const bareWoken = (wakeUps(bare) - before.bareWakeUps) / seconds;
    const [memory, bound] = [residentMb(kernel), residentMb(bare)];
    report({
      name: 'kernel.idle.memory',
      value: memory,
      unit: 'MB',
      bound,
      ratio: memory / bound,
      target: '< 120 MB',
      met: memory < 120,
    });
    report({
      name: 'kernel.idle.cpu',
      value: share,
      unit: '%',
      bound: null,
      ratio: null,
      target: '< 1 % of a core',
      met: share < 1,
    });
    report({
      name: 'kernel.idle.wakeups',
      value: woken,
      unit: '/s',
      bound: bareWoken,
      ratio: null,
      target: 'reported',
      met: null,
    });
  } finally {
    for (const child of [bare, kernel]) await ended(child);
    const down = spawn(process.execPath, [cli, 'down', '--stack', stack, '--state-dir', stateDir], { stdio: 'ignore' });
    await new Promise((resolve) => down.once('exit', resolve));
  }
}

function cpuSeconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100; // utime and stime in ticks of 10 ms (proc(5))
}

/** How often a thread of the process went to sleep so far: whatever woke it, it was woken that often. */
function wakeUps({ pid }: ChildProcess): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8'))
    .reduce((sum, status) => sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]), 0);
}

function residentMb({ pid }: ChildProcess): number {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) / 1_000;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exit;
}

async function waitFor(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    try {
      if (condition()) return;
    } catch {
      // not there yet
    }
    await sleep(100);
  }
  throw new Error('the kernel did not come up in a minute');
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
