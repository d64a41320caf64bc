import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { CloudosClient } from '@cloudos/client';
import type { InstanceView } from '@cloudos/sdk';
import { WebSocket } from 'ws';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const cli = path.join(root, 'packages/cli/bin/cloudos.mjs');

/** How a command of the CLI ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A kernel in a process of its own, with a state directory of its own, driven as a user would. */
export class KernelProcess {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'cloudos-test-'));
  readonly stateDir = path.join(this.dir, 'state');
  readonly stackFile = path.join(this.dir, 'stack.yaml');
  output = '';
  #child: ChildProcess | undefined;

  /** @param stack the stack file as plain data */
  constructor(stack: Readonly<Record<string, unknown>>) {
    writeFileSync(this.stackFile, JSON.stringify({ apiVersion: 'cloudos/v1', kind: 'Stack', ...stack }));
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the kernel; resolves when its gateway answers. */
  async start(): Promise<CloudosClient> {
    this.begin();
    return this.ready();
  }

  /** Starts the process without waiting for anything. */
  begin(): void {
    rmSync(path.join(this.stateDir, 'endpoint.json'), { force: true });
    const child = spawn(process.execPath, [cli, 'up', ...this.#where()], { stdio: ['ignore', 'pipe', 'pipe'] });
    const gather = (data: Buffer) => {
      this.output = (this.output + data).slice(-100_000);
    };
    child.stdout.on('data', gather);
    child.stderr.on('data', gather);
    this.#child = child;
  }

  async ready(): Promise<CloudosClient> {
    const endpoint = path.join(this.stateDir, 'endpoint.json');
    await until(() => {
      if (!this.running) throw new Error(`the kernel has ended:\n${this.output}`);
      return existsSync(endpoint);
    }, 60_000);
    return this.client();
  }

  client(): CloudosClient {
    const { url } = JSON.parse(readFileSync(path.join(this.stateDir, 'endpoint.json'), 'utf8')) as { url: string };
    const token = readFileSync(path.join(this.stateDir, 'token'), 'utf8').trim();
    return new CloudosClient({ url, token, webSocket: WebSocket as never });
  }

  /** Sends the signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || !this.running) return;
    const exit = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exit;
  }

  /** Runs a command of the CLI against this state directory. */
  run(...args: readonly string[]): Promise<Outcome> {
    const where =
      args[0] === 'up' || args[0] === 'down' || args[0] === 'log' || args[0] === 'doctor'
        ? this.#where()
        : this.#where().slice(2);
    const [command = '', ...rest] = args;
    const separator = rest.indexOf('--');
    const before = separator < 0 ? rest : rest.slice(0, separator);
    const after = separator < 0 ? [] : rest.slice(separator);
    return new Promise((resolve) => {
      const options = { timeout: 120_000, maxBuffer: 64 * 2 ** 20, env: { ...process.env, NO_COLOR: '1' } };
      execFile(process.execPath, [cli, command, ...before, ...where, ...after], options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Takes everything down and removes the directory. */
  async dispose(): Promise<Outcome> {
    const outcome = await this.run('down');
    await this.end('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
    return outcome;
  }

  #where(): string[] {
    return ['--stack', this.stackFile, '--state-dir', this.stateDir];
  }
}

/** Resolves when the condition holds; throws with what it is about when it does not in time. */
export async function until(
  condition: () => unknown | Promise<unknown>,
  limitMs = 30_000,
  about = () => '',
): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not in ${limitMs} ms: ${condition} ${about()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** The instances of a workload in the order of names. */
export async function instancesOf(client: CloudosClient, workload: string): Promise<readonly InstanceView[]> {
  const { instances } = await client.view();
  return instances.filter((instance) => instance.workload === `default/${workload}`);
}

/** Waits until the workload has that many instances, all ready, and no other. */
export async function readyInstances(
  client: CloudosClient,
  workload: string,
  count: number,
): Promise<readonly InstanceView[]> {
  let seen: readonly InstanceView[] = [];
  await until(
    async () => {
      seen = await instancesOf(client, workload);
      return seen.length === count && seen.every(({ state }) => state === 'ready');
    },
    60_000,
    () => JSON.stringify(seen.map(({ instance, state, reason }) => [instance, state, reason])),
  );
  return seen;
}
