import type { Socket } from 'node:net';
import { CloudosError, messageOf } from '@cloudos/sdk';
import { type Observable, Subject } from 'rxjs';
import { connectUnix } from './unix-socket.ts';

/** An event of QEMU's (QMP specification, 2.4.2 "Asynchronous events"). */
export interface QmpEvent {
  readonly event: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

export interface QmpConnectOptions {
  /** How long QEMU may take to answer in all. Default 5 s. */
  readonly timeoutMs?: number;
  /** Asked between tries; false ends them: the process is gone. */
  readonly isAlive?: () => boolean;
}

/** QEMU may accept a connection in its first milliseconds and never greet it: then another one is made. */
const greetingMaxMs = 150;
const retryMs = 2;
/** How long a command may take, unless the caller says otherwise. */
const commandMaxMs = 5_000;
/** More than that in one line is no answer of QEMU's. */
const lineMaxBytes = 1024 * 1024;

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly id?: number;
  readonly event?: string;
  readonly QMP?: unknown;
}

/** A connection to the monitor of one QEMU. QEMU serves one at a time: keep it no longer than it is used. */
export class QmpClient {
  readonly #socket: Socket;
  readonly #events = new Subject<QmpEvent>();
  readonly #open = new Map<number, (reply: Reply) => void>();
  readonly events: Observable<QmpEvent> = this.#events.asObservable();
  #buffer = '';
  #id = 0;
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /**
   * Connects, awaits the greeting and negotiates.
   * @throws CloudosError GUEST_UNRESPONSIVE when QEMU does not answer in time, or is gone
   */
  static async connect(path: string, options: QmpConnectOptions = {}): Promise<QmpClient> {
    const timeoutMs = options.timeoutMs ?? 5_000;
    const deadline = Date.now() + timeoutMs;
    for (let last: unknown = 'no socket'; ; ) {
      const left = deadline - Date.now();
      if (left <= 0 || options.isAlive?.() === false) {
        throw new CloudosError('GUEST_UNRESPONSIVE', `QEMU does not answer at ${path}: ${messageOf(last)}`, {
          details: { timeoutMs },
        });
      }
      try {
        const socket = await connectUnix(path, left);
        const client = new QmpClient(socket);
        // The first wait is short because of the race at the start, the later ones for a machine that is busy.
        if (await client.#greeted(Math.min(left, greetingMaxMs))) {
          await client.execute('qmp_capabilities', {}, Math.max(100, deadline - Date.now()));
          return client;
        }
        client.close();
        last = 'no greeting';
      } catch (error) {
        last = error;
      }
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  #greeted(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      const answer = (greeted: boolean) => {
        clearTimeout(timer);
        resolve(greeted);
      };
      this.#open.set(0, () => answer(true));
      this.#socket.setEncoding('utf8');
      this.#socket.on('data', (text: string) => this.#receive(text));
      this.#socket.on('error', () => {});
      this.#socket.on('close', () => {
        answer(false);
        this.close();
      });
    });
  }

  /**
   * Runs a command and returns what QEMU returns.
   * @throws CloudosError HOST_COMMAND_FAILED with QEMU's words; GUEST_UNRESPONSIVE without an answer in time
   */
  execute<T = unknown>(command: string, args: Record<string, unknown> = {}, timeoutMs = commandMaxMs): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(gone(command));
      this.#id += 1;
      const id = this.#id;
      const timer = setTimeout(() => {
        this.#open.delete(id);
        reject(new CloudosError('GUEST_UNRESPONSIVE', `QEMU did not answer ${command} in ${timeoutMs} ms`));
      }, timeoutMs);
      this.#open.set(id, (reply) => {
        clearTimeout(timer);
        if (reply.error) {
          const { class: kind, desc } = reply.error;
          reject(new CloudosError('HOST_COMMAND_FAILED', `QEMU: ${command}: ${desc}`, { details: { command, kind } }));
        } else if (reply.id === undefined) reject(gone(command));
        else resolve(reply.return as T);
      });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  /** Runs a command of the human monitor; what QMP has no command for. */
  async monitor(line: string, timeoutMs = commandMaxMs): Promise<string> {
    return this.execute<string>('human-monitor-command', { 'command-line': line }, timeoutMs);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    for (const answer of [...this.#open.values()]) answer({});
    this.#open.clear();
    this.#events.complete();
  }

  #receive(text: string): void {
    this.#buffer += text;
    for (let end = this.#buffer.indexOf('\n'); end >= 0; end = this.#buffer.indexOf('\n')) {
      const line = this.#buffer.slice(0, end);
      this.#buffer = this.#buffer.slice(end + 1);
      if (line.trim() !== '') this.#line(line);
    }
    if (this.#buffer.length > lineMaxBytes) this.close();
  }

  #line(line: string): void {
    let reply: Reply;
    try {
      reply = JSON.parse(line) as Reply;
    } catch {
      return this.close();
    }
    if (typeof reply.event === 'string') return this.#events.next(reply as QmpEvent);
    const id = reply.QMP === undefined ? reply.id : 0;
    if (id === undefined) return;
    this.#open.get(id)?.(reply);
    this.#open.delete(id);
  }
}

function gone(command: string): CloudosError {
  return new CloudosError('GUEST_UNRESPONSIVE', `QEMU ended before it answered ${command}`);
}

/** Connects, uses the connection, and closes it whatever happens. */
export async function withQmp<T>(
  path: string,
  options: QmpConnectOptions,
  use: (qmp: QmpClient) => Promise<T>,
): Promise<T> {
  const qmp = await QmpClient.connect(path, options);
  try {
    return await use(qmp);
  } finally {
    qmp.close();
  }
}
