import { randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import { CloudosError, type ErrorCode, errorCodes } from '@cloudos/sdk';
import { type AgentMessage, decode, encode, encodeFields, type Fields, types } from './agent-message.ts';
import { connectUnix } from './unix-socket.ts';

const connectMaxMs = 2_000;
type Listener = (message: AgentMessage | undefined) => void;

/**
 * The connection to the agent of one machine; the port takes one at a time. Channels are numbered from a random
 * beginning: the agent outlives drivers, and snapshots bring back agents that knew other channels.
 */
export class AgentConnection {
  readonly #socket: Socket;
  readonly #channels = new Map<number, Listener>();
  #rest: Buffer = Buffer.alloc(0);
  #next = randomInt(1, 2 ** 31);
  #closed = false;
  #heardAt = performance.now();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => this.#receive(data));
    socket.on('error', () => {});
    socket.on('close', () => this.close());
  }

  /** @throws CloudosError GUEST_UNRESPONSIVE */
  static async open(path: string): Promise<AgentConnection> {
    try {
      return new AgentConnection(await connectUnix(path, connectMaxMs));
    } catch (error) {
      const message = `the agent of the guest cannot be reached at ${path}`;
      throw new CloudosError('GUEST_UNRESPONSIVE', message, { cause: error });
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** For how long the agent has said nothing. */
  get silentMs(): number {
    return performance.now() - this.#heardAt;
  }

  /** Commands under way. */
  get channels(): number {
    return this.#channels.size;
  }

  /** Listens on a new channel; undefined is told when the connection ends. */
  openChannel(listener: Listener): number {
    this.#next = (this.#next % 0x7fff_ffff) + 1;
    this.#channels.set(this.#next, listener);
    return this.#next;
  }

  closeChannel(channel: number): void {
    this.#channels.delete(channel);
  }

  send(type: string, channel: number, payload?: Uint8Array): void {
    if (!this.#closed) this.#socket.write(encode(type, channel, payload));
  }

  /**
   * Sends and awaits the answer on that channel.
   * @throws CloudosError GUEST_UNRESPONSIVE without an answer in time; GUEST_SPEC_INVALID; what the agent refuses with
   */
  async ask(type: string, channel: number, fields: Fields, answer: string, timeoutMs: number): Promise<AgentMessage> {
    const payload = encodeFields(fields);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#channels.delete(channel);
        reject(new CloudosError('GUEST_UNRESPONSIVE', `the agent of the guest did not answer in ${timeoutMs} ms`));
      }, timeoutMs);
      this.#channels.set(channel, (message) => {
        if (message && message.type !== answer && message.type !== types.refused) return;
        clearTimeout(timer);
        this.#channels.delete(channel);
        if (!message) reject(new CloudosError('GUEST_UNRESPONSIVE', 'the agent of the guest is gone'));
        else if (message.type === types.refused) reject(refusal(message));
        else resolve(message);
      });
      this.send(type, channel, payload);
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    for (const listener of [...this.#channels.values()]) listener(undefined);
    this.#channels.clear();
  }

  #receive(data: Buffer): void {
    this.#heardAt = performance.now();
    try {
      const { messages, rest } = decode(Buffer.concat([this.#rest, data]));
      this.#rest = rest;
      for (const message of messages) this.#channels.get(message.channel)?.(message);
    } catch {
      this.close();
    }
  }
}

/** What a refusal of the agent means: a code, then words. */
export function refusal({ payload }: AgentMessage): CloudosError {
  const text = payload.toString();
  const [code = ''] = text.split(' ', 1);
  const known = Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'GUEST_START_FAILED';
  return new CloudosError(known, `the guest could not run the command: ${text.slice(code.length + 1)}`);
}
