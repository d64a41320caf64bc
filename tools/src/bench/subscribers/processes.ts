import { type ChildProcess, fork, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const entry = fileURLToPath(new URL('./role.js', import.meta.url));

/** A process of the benchmark that takes tasks. */
export class Role {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #next = 1;
  /** Told how far the slowest subscriber is. */
  onTaken: (taken: number) => void = () => {};

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (message: { id?: number; result?: unknown; error?: string; taken?: number }) => {
      if (message.taken !== undefined) return this.onTaken(message.taken);
      const waiting = this.#waiting.get(message.id ?? 0);
      this.#waiting.delete(message.id ?? 0);
      if (message.error === undefined) waiting?.resolve(message.result as never);
      else waiting?.reject(new Error(message.error));
    });
    child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`a process of the benchmark ended with ${code}`));
    });
  }

  static start(role: string, where = ''): Promise<Role> {
    const child = fork(entry, [role, where], {
      // As the process has that measures: servers, peers and subscribers alike.
      execArgv: ['--expose-gc', '--max-semi-space-size=64'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    return new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`${role} ended with ${code}`)));
      child.once('message', () => resolve(new Role(child)));
    });
  }

  ask<Result>(task: string, given: unknown = {}): Promise<Result> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: never) => void, reject });
      this.#child.send({ id, task, given });
    });
  }

  told(taken: number): void {
    if (this.#child.connected) this.#child.send({ taken });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.disconnect();
    await ended;
  }
}

/** Path of a command, or undefined where it is not installed. */
export function commandPath(name: string): string | undefined {
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
    '/usr/lib/postgresql/15/bin',
  ];
  return folders
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** A server of a peer, started for the benchmark and ended with it. */
export async function startServer(
  command: string,
  args: readonly string[],
  port: number,
  options: { readonly uid?: number; readonly gid?: number } = {},
): Promise<() => Promise<void>> {
  const child = spawn(command, args, { stdio: 'ignore', ...options });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const end = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}`);
    if (await answers(port)) return end;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await end();
  throw new Error(`${command} did not listen on ${port} in ten seconds`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
