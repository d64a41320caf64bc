import { decodeExecFrame, type ExecStatus, encodeExecFrame, encodeExecJson, execChannels } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import type { ExecRequest, ExecSession } from '@cloudos/sdk';
import { type RawData, WebSocket } from 'ws';
import type { z } from 'zod';
import type { GatewayBounds } from './bounds.ts';
import { errorBodyOf } from './error-response.ts';
import { type execQuery, resizeMessage } from './queries.ts';

export function execRequestOf(query: z.output<typeof execQuery>): ExecRequest {
  const env = query.env.map((variable) => {
    const at = variable.indexOf('=');
    return [variable.slice(0, at), variable.slice(at + 1)] as const;
  });
  return {
    command: query.command,
    ...(query.container === undefined ? {} : { container: query.container }),
    ...(env.length === 0 ? {} : { env: Object.fromEntries(env) }),
    ...(query.workingDir === undefined ? {} : { workingDir: query.workingDir }),
    ...(query.tty ? { tty: { columns: query.columns, rows: query.rows } } : {}),
  };
}

/**
 * Carries one command: frames as in `execChannels` of the client. A peer that leaves ends the command; a peer that
 * does not read its output is cut off at `execBufferMaxBytes`, because the output of a command cannot be held back.
 */
export class ExecSocket {
  readonly #socket: WebSocket;
  readonly #bounds: GatewayBounds;
  readonly #messageWaitMs: () => number;
  #waiting: NodeJS.Timeout | undefined;
  #session: ExecSession | undefined;
  #closed = false;
  #stdinBytes = 0;
  #stdin: Promise<void> = Promise.resolve();

  /** @param messageWaitMs told of each message; answers how long no more should be read */
  constructor(socket: WebSocket, bounds: GatewayBounds, messageWaitMs: () => number) {
    this.#socket = socket;
    this.#bounds = bounds;
    this.#messageWaitMs = messageWaitMs;
    socket.binaryType = 'nodebuffer';
    socket.on('close', () => {
      this.#closed = true;
      clearTimeout(this.#waiting);
      this.#session?.kill();
    });
  }

  async run(kernel: Kernel, instance: string, request: () => ExecRequest): Promise<void> {
    this.#socket.pause();
    try {
      const session = await kernel.exec(instance, request());
      if (this.#closed) return session.kill();
      this.#session = session;
      this.#status({ started: true });
      const output = this.#forward(session);
      this.#socket.on('message', (data, isBinary) => this.#receive(session, data, isBinary));
      this.#socket.resume();
      const exitCode = await session.exitCode;
      await output;
      this.#session = undefined;
      this.#status({ exitCode });
    } catch (error) {
      this.#session?.kill();
      this.#session = undefined;
      this.#status({ error: errorBodyOf(error) });
    } finally {
      this.#socket.resume();
      this.#socket.close(1000);
    }
  }

  /** Resolves when the output has ended. */
  #forward(session: ExecSession): Promise<void> {
    return new Promise((resolve, reject) => {
      session.output.subscribe({
        next: ({ stream, data }) => {
          this.#send(encodeExecFrame(stream === 'stdout' ? execChannels.stdout : execChannels.stderr, data));
          if (this.#socket.bufferedAmount <= this.#bounds.execBufferMaxBytes) return;
          session.kill();
          this.#socket.close(1008, `more than ${this.#bounds.execBufferMaxBytes} bytes of output wait: read faster`);
        },
        error: reject,
        complete: resolve,
      });
    });
  }

  /** Input that comes faster than the token may send is taken later: nothing of it is lost. */
  #slowDown(): void {
    const waitMs = this.#messageWaitMs();
    if (waitMs === 0) return;
    this.#socket.pause();
    // Of messages that came at once each makes the wait longer.
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => {
      this.#waiting = undefined;
      if (this.#stdinBytes <= this.#bounds.stdinBufferMaxBytes) this.#socket.resume();
    }, waitMs);
  }

  #receive(session: ExecSession, data: RawData, isBinary: boolean): void {
    this.#slowDown();
    if (!isBinary) return this.#socket.close(1003, 'frames are binary: one byte for the channel, then the payload');
    const frame = decodeExecFrame(data as Buffer);
    if (!frame) return this.#socket.close(1008, 'an empty frame names no channel');
    if (frame.channel === execChannels.stdin) return this.#input(session, frame.payload);
    if (frame.channel === execChannels.resize) return this.#resize(session, frame.payload);
    this.#socket.close(1008, `channel ${frame.channel} is not for clients: expected 0 (stdin) or 4 (resize)`);
  }

  #input(session: ExecSession, payload: Uint8Array): void {
    if (payload.byteLength === 0) {
      this.#stdin = this.#stdin.then(() => session.end()).catch(() => {});
      return;
    }
    this.#stdinBytes += payload.byteLength;
    if (this.#stdinBytes > this.#bounds.stdinBufferMaxBytes) this.#socket.pause();
    this.#stdin = this.#stdin
      .then(() => session.write(payload))
      // A command that has closed its input takes no more; its exit code says the rest.
      .catch(() => {})
      .then(() => {
        this.#stdinBytes -= payload.byteLength;
        if (this.#stdinBytes <= this.#bounds.stdinBufferMaxBytes / 2 && !this.#waiting) this.#socket.resume();
      });
  }

  #resize(session: ExecSession, payload: Uint8Array): void {
    try {
      const { columns, rows } = resizeMessage.parse(JSON.parse(new TextDecoder().decode(payload)));
      session.resize(columns, rows);
    } catch {
      this.#socket.close(1008, 'channel 4 takes {"columns": 1..10000, "rows": 1..10000}');
    }
  }

  #status(status: ExecStatus): void {
    this.#send(encodeExecJson(execChannels.status, status));
  }

  #send(frame: Uint8Array): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(frame);
  }
}
