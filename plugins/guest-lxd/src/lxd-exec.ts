import { CloudosError, type ExecRequest, type ExecSession, type OutputChunk } from '@cloudos/sdk';
import { ReplaySubject } from 'rxjs';
import type { WebSocket } from 'ws';
import type { LxdClient, Operation } from './lxd-client.ts';

/** Chunks that are kept for a subscriber that comes after the call; earlier ones are dropped past this. */
const outputChunksMax = 4096;
const endOfTransmission = Buffer.from([4]);

/** Runs a command in a running instance: a WebSocket for each stream, and one to control it (REST API, `exec`). */
export async function execInInstance(
  client: LxdClient,
  name: string,
  request: ExecRequest,
  defaults: { readonly env: Readonly<Record<string, string>>; readonly workingDir: string; readonly user: number },
): Promise<ExecSession> {
  const tty = request.tty !== undefined;
  const operation = await client.begin('POST', `/1.0/instances/${name}/exec`, {
    command: request.command,
    environment: { ...defaults.env, ...(tty ? { TERM: 'xterm' } : {}), ...request.env },
    cwd: request.workingDir ?? defaults.workingDir,
    user: defaults.user,
    group: defaults.user,
    interactive: tty,
    'wait-for-websocket': true,
    ...(request.tty && { width: request.tty.columns, height: request.tty.rows }),
  });
  const { fds } = operation.metadata as { fds: Readonly<Record<string, string>> };
  const path = `/1.0/operations/${operation.id}`;
  const open = async (fd: string) => {
    const socket = client.webSocket(`${path}/websocket?secret=${fds[fd]}`);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return socket;
  };
  const sockets = {
    control: await open('control'),
    stdin: await open('0'),
    ...(tty ? {} : { stdout: await open('1'), stderr: await open('2') }),
  };
  return new InstanceSession(sockets, client.wait(path), tty);
}

interface Sockets {
  readonly control: WebSocket;
  /** With a terminal: both ways. */
  readonly stdin: WebSocket;
  readonly stdout?: WebSocket;
  readonly stderr?: WebSocket;
}

class InstanceSession implements ExecSession {
  readonly #output = new ReplaySubject<OutputChunk>(outputChunksMax);
  readonly output = this.#output.asObservable();
  readonly exitCode: Promise<number>;
  readonly #sockets: Sockets;
  readonly #tty: boolean;

  constructor(sockets: Sockets, operation: Promise<Operation>, tty: boolean) {
    this.#sockets = sockets;
    this.#tty = tty;
    const { control, stdin, stdout, stderr } = sockets;
    control.on('error', () => {});
    const streams = tty
      ? [this.#drain(stdin, 'stdout')]
      : [this.#drain(stdout, 'stdout'), this.#drain(stderr, 'stderr')];
    if (!tty) stdin.on('error', () => {});
    this.exitCode = this.#run(operation, streams);
    this.exitCode.catch(() => {});
  }

  async #run(operation: Promise<Operation>, streams: readonly Promise<void>[]): Promise<number> {
    try {
      const { metadata } = await operation;
      await Promise.all(streams);
      return Number(metadata?.return ?? 0);
    } catch (error) {
      if (/not found|no such file/i.test(String(error))) {
        throw new CloudosError('COMMAND_NOT_FOUND', `the command does not exist in the guest: ${String(error)}`, {
          cause: error,
        });
      }
      throw error;
    } finally {
      this.#output.complete();
      for (const socket of Object.values(this.#sockets) as WebSocket[]) socket.close();
    }
  }

  /** Binary messages are output; an empty text message says that there is no more. */
  #drain(socket: WebSocket | undefined, stream: OutputChunk['stream']): Promise<void> {
    return new Promise((resolve) => {
      if (!socket) return resolve();
      socket.on('message', (data, isBinary) => {
        const bytes = data as Buffer;
        if (isBinary) this.#output.next({ stream, data: bytes });
        else if (bytes.length === 0) {
          // The daemon waits for the other end of a terminal to be closed.
          if (this.#tty) socket.close();
          resolve();
        }
      });
      socket.once('close', () => resolve());
      socket.once('error', () => resolve());
    });
  }

  write(data: Uint8Array): Promise<void> {
    const { stdin } = this.#sockets;
    return new Promise((resolve) => {
      if (stdin.readyState !== stdin.OPEN) resolve();
      else stdin.send(data, { binary: true }, () => resolve());
    });
  }

  end(): void {
    const { stdin } = this.#sockets;
    if (stdin.readyState !== stdin.OPEN) return;
    if (this.#tty) stdin.send(endOfTransmission, { binary: true });
    else stdin.send('');
  }

  resize(columns: number, rows: number): void {
    this.#control({ command: 'window-resize', args: { width: String(columns), height: String(rows) } });
  }

  kill(): void {
    this.#control({ command: 'signal', signal: 9 });
  }

  #control(message: object): void {
    const { control } = this.#sockets;
    if (control.readyState === control.OPEN) control.send(JSON.stringify(message));
  }
}
