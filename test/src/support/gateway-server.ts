import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GatewayOptions } from '@cloudos/gateway';

const program = fileURLToPath(new URL('../fixtures/gateway-server.mjs', import.meta.url));

/** What the server holds after a full garbage collection. */
export interface Usage {
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly peakRssBytes: number;
  readonly descriptors: number;
  readonly sockets: { readonly subscriptions: number; readonly execs: number };
  readonly waitingBytes: number;
}

/** A gateway over a simulated stack, in a process of its own. */
export class GatewayServer {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'cloudos-gateway-'));
  /** Everything that it said: log lines, and what a dying process says. */
  output = '';
  url = '';
  port = 0;
  token = '';
  #child!: ChildProcess;

  /** Resolves when it listens. */
  async start(options: Pick<GatewayOptions, 'bounds' | 'limits' | 'tls'> = {}): Promise<this> {
    this.#child = fork(program, [this.dir, JSON.stringify(options)], { execArgv: ['--expose-gc'], silent: true });
    const gather = (data: Buffer) => {
      this.output += data.toString();
    };
    this.#child.stdout?.on('data', gather);
    this.#child.stderr?.on('data', gather);
    Object.assign(this, await this.#message<{ url: string; port: number; token: string }>());
    return this;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  usage(): Promise<Usage> {
    const answer = this.#message<Usage>();
    this.#child.send('usage');
    return answer;
  }

  async stop(): Promise<void> {
    if (this.running) {
      const exit = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exit;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }

  #message<T>(): Promise<T> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null) =>
        reject(new Error(`the server ended (${code}): ${this.output.slice(-3_000)}`));
      this.#child.once('exit', ended);
      this.#child.once('message', (message) => {
        this.#child.off('exit', ended);
        resolve(message as T);
      });
    });
  }
}
