import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CloudosClient } from '@cloudos/client';
import type { InstanceView } from '@cloudos/sdk';
import { WebSocket } from 'ws';

const { resolve: find } = createRequire(import.meta.url);
const cli = path.join(path.dirname(find('@cloudos/cli')), '../bin/cloudos.mjs');

/** Commands that take a stack file. */
const withStack = new Set(['up', 'down', 'log', 'doctor']);

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
    }, 120_000);
    return this.client();
  }

  client(): CloudosClient {
    return new CloudosClient({ url: this.endpoint(), token: this.token(), webSocket: WebSocket as never });
  }

  /** URL of the gateway. */
  endpoint(): string {
    return (JSON.parse(readFileSync(path.join(this.stateDir, 'endpoint.json'), 'utf8')) as { url: string }).url;
  }

  token(): string {
    return readFileSync(path.join(this.stateDir, 'token'), 'utf8').trim();
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
  run(command: string, ...args: readonly string[]): Promise<Outcome> {
    const where = withStack.has(command) ? this.#where() : this.#where().slice(2);
    const separator = args.indexOf('--');
    const options = separator < 0 ? args : args.slice(0, separator);
    return this.cli(command, ...options, ...where, ...args.slice(options.length));
  }

  /** What {@link run} would run. */
  commandLine(command: string): [string, ...string[]] {
    return [process.execPath, cli, command, ...(withStack.has(command) ? this.#where() : this.#where().slice(2))];
  }

  /** The shortest command line that shows whether the CLI can run at all. */
  static readonly help: readonly [string, ...string[]] = [process.execPath, cli, '--help'];

  /** Runs the CLI with just these arguments. */
  cli(...args: readonly string[]): Promise<Outcome> {
    return new Promise((resolve) => {
      const options = {
        timeout: 120_000,
        maxBuffer: 64 * 2 ** 20,
        env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
      };
      execFile(process.execPath, [cli, ...args], options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Runs `down` for a reader that leaves at once, as `| head` does. Resolves with its exit code. */
  downUnread(): Promise<number | null> {
    const child = spawn(process.execPath, [cli, 'down', ...this.#where()], { stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout.destroy();
    return new Promise((resolve) => child.once('exit', resolve));
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
  limitMs = 120_000,
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
  limitMs = 120_000,
): Promise<readonly InstanceView[]> {
  let seen: readonly InstanceView[] = [];
  await until(
    async () => {
      seen = await instancesOf(client, workload);
      return seen.length === count && seen.every(({ state }) => state === 'ready');
    },
    limitMs,
    () => JSON.stringify(seen.map(({ instance, state, reason }) => [instance, state, reason])),
  );
  return seen;
}
