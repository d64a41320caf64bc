import type { Duplex } from 'node:stream';
import { KillDeadline } from '@cloudos/host-tools';
import { CloudosError, type ExecRequest, type ExecSession, type OutputChunk } from '@cloudos/sdk';
import type { Container, Exec } from 'dockerode';
import { ReplaySubject } from 'rxjs';
import { hasPath } from './container-command.ts';
import { frames } from './container-logs.ts';
import { engineError } from './engine.ts';

/** Chunks that are kept for a subscriber that comes after the call; earlier ones are dropped past this. */
const outputChunksMax = 4096;
/** How long the engine may take to tell the exit code of a command whose output has ended. */
const exitCodeMaxMs = 5_000;
const stepMs = 10;
const endOfTransmission = '\x04';

/** Runs a command in a running container, in all its namespaces and limits. */
export async function execInContainer(container: Container, request: ExecRequest): Promise<ExecSession> {
  try {
    const exec = await container.exec({
      Cmd: await commandOf(container, request),
      Env: Object.entries(environmentOf(request)).map(([name, value]) => `${name}=${value}`),
      ...(request.workingDir === undefined ? {} : { WorkingDir: request.workingDir }),
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: request.tty !== undefined,
    });
    const stream = await exec.start({ hijack: true, stdin: true, Tty: request.tty !== undefined });
    const session = new ContainerSession(exec, stream, request.tty !== undefined);
    if (request.tty) session.resize(request.tty.columns, request.tty.rows);
    return session;
  } catch (error) {
    throw engineError(error, `exec in ${container.id}`);
  }
}

const sizeScript = 'stty rows "$1" cols "$2" 2>/dev/null; shift 2; exec "$@"';

/**
 * Before API 1.42 a terminal gets its size only after the command was started, which may have asked for it by then: a
 * shell sets it first, where the container has one.
 */
async function commandOf(container: Container, { command, tty }: ExecRequest): Promise<string[]> {
  const shell = '/bin/sh';
  if (!tty || !(await hasPath(container, shell))) return [...command];
  return [shell, '-c', sizeScript, 'sh', String(tty.rows), String(tty.columns), ...command];
}

function environmentOf({ env, tty }: ExecRequest): Readonly<Record<string, string>> {
  return tty ? { TERM: 'xterm', ...env } : (env ?? {});
}

class ContainerSession implements ExecSession {
  readonly #output = new ReplaySubject<OutputChunk>(outputChunksMax);
  readonly output = this.#output.asObservable();
  readonly exitCode: Promise<number>;
  readonly #exec: Exec;
  readonly #stream: NodeJS.ReadWriteStream;
  readonly #tty: boolean;
  readonly #deadline: KillDeadline;

  constructor(exec: Exec, stream: NodeJS.ReadWriteStream, tty: boolean) {
    this.#exec = exec;
    this.#stream = stream;
    this.#tty = tty;
    stream.on('error', () => {});
    this.#deadline = new KillDeadline(this.#run(), () => this.#abandon());
    this.exitCode = this.#deadline.exitCode;
  }

  async #run(): Promise<number> {
    try {
      if (this.#tty) {
        for await (const data of this.#stream) this.#output.next({ stream: 'stdout', data: Buffer.from(data) });
      } else {
        for await (const chunk of frames(this.#stream as unknown as AsyncIterable<Buffer>)) this.#output.next(chunk);
      }
    } catch {
      // The connection is gone: what the command ended with is asked for all the same.
    }
    this.#output.complete();
    return this.#code();
  }

  async #code(): Promise<number> {
    const deadline = Date.now() + exitCodeMaxMs;
    for (;;) {
      const { ExitCode: code, Running: running } = await this.#exec.inspect();
      if (!running && code !== null && code !== undefined) return code;
      if (Date.now() > deadline) {
        throw new CloudosError('GUEST_UNRESPONSIVE', `the engine does not tell how a command ended`);
      }
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#stream.writable) resolve();
      else this.#stream.write(data, () => resolve());
    });
  }

  /** A terminal has no end: what is read at it ends with the character for that (termios(3), VEOF). */
  end(): void {
    if (this.#tty) this.#stream.write(endOfTransmission);
    else this.#stream.end();
  }

  resize(columns: number, rows: number): void {
    this.#exec.resize({ w: columns, h: rows }).catch(() => {});
  }

  kill(): void {
    this.#deadline.start();
    void this.#kill().catch(() => {});
  }

  #abandon(): void {
    this.#output.complete();
    (this.#stream as Duplex).destroy();
  }

  /**
   * The engine has no call for it, and names the process as the host sees it, a moment after the start. That leads a
   * process group, in which is what it has started.
   */
  async #kill(): Promise<void> {
    const deadline = Date.now() + exitCodeMaxMs;
    for (;;) {
      const { Pid: pid, Running: running } = await this.#exec.inspect();
      if (running && pid > 0) return void process.kill(-pid, 'SIGKILL');
      if (!running || Date.now() > deadline) return;
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
  }
}
