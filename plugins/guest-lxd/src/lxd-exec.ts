import { KillDeadline } from '@cloudos/host-tools';
import { CloudosError, type ExecRequest, type ExecSession, type OutputChunk } from '@cloudos/sdk';
import { type Observable, ReplaySubject } from 'rxjs';
import type { WebSocket } from 'ws';
import type { LxdClient, Operation } from './lxd-client.ts';

/** Chunks that are kept for a subscriber that comes after the call; earlier ones are dropped past this. */
const outputChunksMax = 4096;
const endOfTransmission = Buffer.from([4]);

interface ExecDefaults {
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user: number;
}

/**
 * Runs a command in a running instance: a WebSocket for each stream, and one to control it (REST API, `exec`).
 * @throws CloudosError GUEST_UNRESPONSIVE when the daemon opens them no more
 */
export async function execInInstance(
  client: LxdClient,
  name: string,
  request: ExecRequest,
  defaults: ExecDefaults,
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
  const output = new ReplaySubject<OutputChunk>(outputChunksMax);
  const streams: Promise<void>[] = [];
  const open = async (fd: string, stream?: OutputChunk['stream']) => {
    const socket = client.webSocket(`${path}/websocket?secret=${fds[fd]}`);
    // Listens before it is open: the command runs with the last of them, and what it says may come along with the answer.
    if (stream) streams.push(drain(socket, stream, output, tty));
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', (cause) => {
        const message = `the daemon did not take up the command in ${name}: ${cause.message}`;
        reject(new CloudosError('GUEST_UNRESPONSIVE', message, { cause }));
      });
    });
    return socket;
  };
  // Those of its output first: one that is opened last may be closed again before what was said is sent.
  const outputs = tty ? {} : { stdout: await open('1', 'stdout'), stderr: await open('2', 'stderr') };
  const control = await open('control');
  const sockets = { control, stdin: await open('0', tty ? 'stdout' : undefined), ...outputs };
  return new InstanceSession(sockets, client.wait(path), { output, streams, tty });
}

/** Binary messages are output; an empty text message says that there is no more. */
function drain(
  socket: WebSocket,
  stream: OutputChunk['stream'],
  output: Pick<ReplaySubject<OutputChunk>, 'next'>,
  tty: boolean,
): Promise<void> {
  return new Promise((resolve) => {
    socket.on('message', (data, isBinary) => {
      const bytes = data as Buffer;
      if (isBinary) output.next({ stream, data: bytes });
      else if (bytes.length === 0) {
        // The daemon waits for the other end of a terminal to be closed.
        if (tty) socket.close();
        resolve();
      }
    });
    socket.once('close', () => resolve());
    socket.once('error', () => resolve());
  });
}

interface Sockets {
  readonly control: WebSocket;
  /** With a terminal: both ways. */
  readonly stdin: WebSocket;
  readonly stdout?: WebSocket;
  readonly stderr?: WebSocket;
}

class InstanceSession implements ExecSession {
  readonly #output: ReplaySubject<OutputChunk>;
  readonly output: Observable<OutputChunk>;
  readonly exitCode: Promise<number>;
  readonly #sockets: Sockets;
  readonly #tty: boolean;
  readonly #deadline: KillDeadline;

  constructor(
    sockets: Sockets,
    operation: Promise<Operation>,
    { output, streams, tty }: { output: ReplaySubject<OutputChunk>; streams: readonly Promise<void>[]; tty: boolean },
  ) {
    this.#output = output;
    this.output = output.asObservable();
    this.#sockets = sockets;
    this.#tty = tty;
    for (const socket of [sockets.control, sockets.stdin]) socket.on('error', () => {});
    this.#deadline = new KillDeadline(this.#run(operation, streams), () => this.#close());
    this.exitCode = this.#deadline.exitCode;
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
      this.#close();
    }
  }

  #close(): void {
    this.#output.complete();
    for (const socket of Object.values(this.#sockets) as WebSocket[]) socket.close();
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

  /** The daemon kills the command alone, and tells its code when nothing holds its output any more. */
  kill(): void {
    this.#control({ command: 'signal', signal: 9 });
    this.#deadline.start();
  }

  #control(message: object): void {
    const { control } = this.#sockets;
    if (control.readyState === control.OPEN) control.send(JSON.stringify(message));
  }
}
