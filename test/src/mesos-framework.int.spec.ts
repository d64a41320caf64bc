import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { CloudosClient } from '@cloudos/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelProcess, until } from './support/kernel-process.ts';

const isRoot = process.getuid?.() === 0;
const program = fileURLToPath(new URL('./support/mesos-framework.mjs', import.meta.url));

interface Said {
  readonly event: string;
  readonly frameworkId?: string;
  readonly task?: string;
  readonly agent?: string;
  readonly state?: string;
}

/** The framework in a process of its own: it ends itself where it finds no way out. */
class FrameworkProcess {
  readonly said: Said[] = [];
  readonly #child: ChildProcess;

  constructor(port: number, logs: string, instances: number) {
    this.#child = spawn(process.execPath, [program, String(port), logs, String(instances)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'], // its library logs to standard output
    });
    this.#child.on('message', (said) => this.said.push(said as Said));
  }

  /** Waits for something that the framework does; fails at once when it has ended. */
  async until(condition: () => boolean, limitMs = 60_000): Promise<void> {
    await until(
      () => {
        if (this.#child.exitCode !== null) throw new Error(`the framework has ended: ${this.#child.exitCode}`);
        return condition();
      },
      limitMs,
      () => JSON.stringify(this.said.slice(-10)),
    );
  }

  tell(line: string): void {
    this.#child.send(line);
  }

  /** The tasks whose latest state is that one, and where they are. */
  tasksIn(state: string): Required<Pick<Said, 'task' | 'agent'>>[] {
    const latest = new Map(this.said.filter(({ event }) => event === 'update').map((each) => [each.task, each]));
    return [...latest.values()]
      .filter((each) => each.state === state)
      .map(({ task = '', agent = '' }) => ({ task, agent }))
      .sort((one, other) => one.task.localeCompare(other.task));
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exit = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await exit;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.skipIf(!isRoot)('an unmodified Mesos framework on real zones (needs root: run the tests as root)', () => {
  const tasks = 2;
  let kernel: KernelProcess;
  let client: CloudosClient;
  let framework: FrameworkProcess;

  beforeAll(async () => {
    const port = await freePort();
    kernel = new KernelProcess({
      name: 'mesos',
      log: 'log-lmdb',
      resources: { plugin: 'resources-mesos', config: { allocationIntervalMs: 200 } },
      orchestrator: 'orchestrator-kubernetes',
      apis: [{ plugin: 'api-mesos', config: { port, heartbeatIntervalMs: 1_000, updateRetryMs: 2_000 } }],
      nodes: [{ name: 'local', host: '@cloudos/host-linux', guests: ['@cloudos/guest-zones'] }],
    });
    client = await kernel.start();
    framework = new FrameworkProcess(port, kernel.dir, tasks);
  }, 120_000);
  afterAll(async () => {
    await framework.end();
    await kernel.dispose();
  }, 60_000);

  const instances = async () => (await client.view()).instances.filter(({ state }) => state !== 'removed');
  const processes = async () => (await instances()).map(({ instance, pid }) => [instance, pid]);

  it('runs tasks: each is an instance with a process of its own', async () => {
    await framework.until(() => framework.tasksIn('TASK_RUNNING').length === tasks);
    const running = await instances();
    expect(running).toHaveLength(tasks);
    for (const { pid, node, state } of running) {
      expect({ node, state }).toEqual({ node: 'local', state: 'ready' });
      expect(existsSync(`/proc/${pid}`)).toBe(true);
    }
    const { frameworkId } = framework.said.find(({ event }) => event === 'subscribed')!;
    const { stdout } = await kernel.run('get', 'workloads');
    for (const { task } of framework.tasksIn('TASK_RUNNING')) expect(stdout).toContain(`${frameworkId}/${task}`);
    const logs = await kernel.run('logs', running[0]!.instance);
    expect(logs.stdout).toMatch(/host 127\.0\.0\.1, task sleepers\.sleeper-[12]\./);
  }, 90_000);

  it('finds its tasks again after the kernel was killed and started anew', async () => {
    const before = await processes();
    const tasksBefore = framework.tasksIn('TASK_RUNNING');
    const said = framework.said.length;
    await kernel.end('SIGKILL');
    client = await kernel.start();
    expect(await processes()).toEqual(before);
    const subscribedAgain = () => framework.said.slice(said).some(({ event }) => event === 'subscribed');
    if (!subscribedAgain()) framework.tell('subscribe'); // it gives up where nobody listens for a moment
    await framework.until(subscribedAgain);
    await framework.until(() => framework.said.slice(said).filter(({ event }) => event === 'update').length >= tasks);
    expect(framework.tasksIn('TASK_RUNNING')).toEqual(tasksBefore);
  }, 120_000);

  it('kills them, and nothing is left', async () => {
    const pids = (await processes()).map(([, pid]) => pid);
    for (const { task, agent } of framework.tasksIn('TASK_RUNNING')) framework.tell(`kill ${task} ${agent}`);
    await framework.until(() => framework.tasksIn('TASK_KILLED').length === tasks);
    await until(async () => (await client.view()).workloads.length === 0, 30_000);
    await until(async () => (await instances()).length === 0, 30_000);
    for (const pid of pids) expect(existsSync(`/proc/${pid}`)).toBe(false);
    framework.tell('teardown');
    await until(async () => {
      const { events } = await client.eventsPage({ direction: 'backwards', limit: 5, types: ['x-resources-mesos-*'] });
      return events.some(({ type }) => type.endsWith('FrameworkRemoved'));
    }, 30_000);
  }, 120_000);
});
