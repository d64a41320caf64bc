import { CloudosError, type ExecSession, messageOf, type OutputChunk } from '@cloudos/sdk';
import { Observable, type Subscriber } from 'rxjs';
import { decodeExecFrame, type ExecStatus, encodeExecFrame, encodeExecJson, execChannels } from './exec-channel.ts';
import { errorOfBody } from './http.ts';
import type { WebSocketConstructor, WebSocketLike } from './web-socket.ts';

/** Bytes of one frame of standard input. Longer writes are split. */
const stdinFrameMaxBytes = 64 * 1024;

/**
 * Runs a command through an exec socket. Resolves when it has started.
 * @throws CloudosError with the code of the refusal, KERNEL_UNREACHABLE or TIMED_OUT
 */
export function openRemoteExec(
  webSocket: WebSocketConstructor,
  url: string,
  protocols: string[],
  timeoutMs: number,
): Promise<ExecSession> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => session.giveUp(timeoutMs), timeoutMs);
    const settled =
      <T>(settle: (value: T) => void) =>
      (value: T) => {
        clearTimeout(timer);
        settle(value);
      };
    const session = new RemoteExec(new webSocket(url, protocols), settled(resolve), settled(reject));
  });
}

class RemoteExec implements ExecSession {
  readonly output: Observable<OutputChunk>;
  readonly exitCode: Promise<number>;
  readonly #socket: WebSocketLike;
  /** Output that came before somebody listened. */
  #early: OutputChunk[] | undefined = [];
  #listeners = new Set<Subscriber<OutputChunk>>();
  #state: 'starting' | 'running' | 'ended' = 'starting';
  #started: (session: ExecSession) => void;
  #refused: (error: unknown) => void;
  #exited!: (exitCode: number) => void;
  #failed!: (error: unknown) => void;

  constructor(socket: WebSocketLike, started: (session: ExecSession) => void, refused: (error: unknown) => void) {
    this.#socket = socket;
    this.#started = started;
    this.#refused = refused;
    this.exitCode = new Promise((resolve, reject) => {
      this.#exited = resolve;
      this.#failed = reject;
    });
    this.exitCode.catch(() => {});
    this.output = new Observable((subscriber) => this.#listen(subscriber));
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => this.#receive(data));
    socket.addEventListener('error', () => {});
    socket.addEventListener('close', ({ code, reason }) => {
      this.#end(
        new CloudosError(
          'KERNEL_UNREACHABLE',
          `the exec connection was lost: ${reason || `closed with ${code ?? 'no code'}`}`,
        ),
      );
    });
  }

  async write(data: Uint8Array): Promise<void> {
    if (this.#state !== 'running') return;
    for (let at = 0; at < data.byteLength; at += stdinFrameMaxBytes) {
      this.#send(encodeExecFrame(execChannels.stdin, data.subarray(at, at + stdinFrameMaxBytes)));
    }
  }

  end(): void {
    this.#send(encodeExecFrame(execChannels.stdin, new Uint8Array()));
  }

  resize(columns: number, rows: number): void {
    this.#send(encodeExecJson(execChannels.resize, { columns, rows }));
  }

  kill(): void {
    this.#socket.close(1000);
  }

  giveUp(afterMs: number): void {
    if (this.#state !== 'starting') return;
    this.#end(new CloudosError('TIMED_OUT', `the command did not start in ${afterMs} ms`));
  }

  #listen(subscriber: Subscriber<OutputChunk>): () => void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const chunk of early) subscriber.next(chunk);
    if (this.#state === 'ended') subscriber.complete();
    else this.#listeners.add(subscriber);
    return () => this.#listeners.delete(subscriber);
  }

  #send(frame: Uint8Array): void {
    if (this.#state === 'running') this.#socket.send(frame);
  }

  #receive(data: unknown): void {
    const frame = decodeExecFrame(new Uint8Array(data as ArrayBuffer));
    if (!frame) return;
    if (frame.channel === execChannels.status) return this.#status(frame.payload);
    const chunk: OutputChunk = {
      stream: frame.channel === execChannels.stderr ? 'stderr' : 'stdout',
      data: frame.payload,
    };
    if (this.#early) this.#early.push(chunk);
    else for (const listener of this.#listeners) listener.next(chunk);
  }

  #status(payload: Uint8Array): void {
    let status: ExecStatus;
    try {
      status = JSON.parse(new TextDecoder().decode(payload)) as ExecStatus;
    } catch (error) {
      return this.#end(new CloudosError('REQUEST_MALFORMED', `the gateway sent no JSON: ${messageOf(error)}`));
    }
    if ('started' in status) {
      this.#state = 'running';
      this.#started(this);
    } else if ('error' in status) this.#end(errorOfBody(status.error));
    else this.#end(status.exitCode);
  }

  #end(outcome: number | CloudosError): void {
    const before = this.#state;
    if (before === 'ended') return;
    this.#state = 'ended';
    if (typeof outcome === 'number') this.#exited(outcome);
    else {
      this.#failed(outcome);
      if (before === 'starting') this.#refused(outcome);
    }
    for (const listener of this.#listeners) listener.complete();
    this.#listeners.clear();
    this.#socket.close(1000);
  }
}
