import { createReadStream, statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { CloudosError, messageOf } from '@cloudos/sdk';
import { WebSocket } from 'ws';
import { daemonFlavour } from './daemon-flavour.ts';

export const daemonRemedy =
  'Start a daemon, or let the node run one (`daemon: own`): apt-get install lxd btrfs-progs, or incus-base for lxd';

/** Largest answer that is read; lists of thousands of instances fit. */
const answerMaxBytes = 64 * 2 ** 20;
/** How long an operation of the daemon may take: copying a root, unpacking an image. */
const operationMaxMs = 600_000;
const busyMaxMs = 60_000;
const busyStepMs = 20;
const busyStepMaxMs = 160;

type Method = 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What every answer of the daemon is wrapped in (LXD REST API, "Return values"). */
interface Envelope {
  readonly type: 'sync' | 'async' | 'error';
  readonly operation?: string;
  readonly error?: string;
  readonly error_code?: number;
  readonly metadata?: unknown;
}

/** An operation that runs in the background of the daemon. */
export interface Operation {
  readonly id: string;
  readonly status_code: number;
  readonly err: string;
  readonly metadata: Readonly<Record<string, unknown>> | null;
}

interface Body {
  readonly type: string;
  readonly length?: number;
  readonly source: string | AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The REST API of LXD or Incus on a unix socket (https://documentation.ubuntu.com/lxd/en/latest/rest-api/). */
export class LxdClient {
  readonly #socket: string;
  readonly #timeoutMs: number;

  constructor(socket: string, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
  }

  /** The directory of the daemon. */
  get directory(): string {
    return dirname(this.#socket);
  }

  /** @throws CloudosError RUNTIME_UNAVAILABLE, DISK_FULL, HOST_COMMAND_FAILED with `details.status` */
  async get<T>(path: string): Promise<T> {
    return (await this.#call('GET', path)).metadata as T;
  }

  /** Like {@link get}; undefined when there is no such thing. */
  async find<T>(path: string): Promise<T | undefined> {
    try {
      return await this.get<T>(path);
    } catch (error) {
      if (statusOfError(error) === 404) return undefined;
      throw error;
    }
  }

  /** Changes something, and waits for the operation where the daemon makes it one. */
  async change(method: Method, path: string, body?: unknown): Promise<Operation | undefined> {
    const deadline = Date.now() + busyMaxMs;
    for (let stepMs = busyStepMs; ; stepMs = Math.min(2 * stepMs, busyStepMaxMs)) {
      try {
        return await this.#change(method, path, body);
      } catch (error) {
        if (!/Instance is busy/.test(messageOf(error)) || Date.now() > deadline) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
  }

  async #change(method: Method, path: string, body: unknown): Promise<Operation | undefined> {
    const answer = await this.#call(method, path, body === undefined ? undefined : json(body));
    return answer.type === 'async' ? this.wait(answer.operation ?? '') : undefined;
  }

  /** Begins an operation and does not wait for it. */
  async begin(method: 'POST' | 'PUT', path: string, body: unknown): Promise<Operation> {
    return (await this.#call(method, path, json(body))).metadata as Operation;
  }

  /** Sends a file or a stream as the body. */
  async upload(
    path: string,
    source: string | AsyncIterable<Uint8Array>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Operation | undefined> {
    const body =
      typeof source === 'string'
        ? { type: 'application/octet-stream', length: statSync(source).size, source: createReadStream(source), headers }
        : { type: 'application/octet-stream', source, headers };
    const answer = await this.#call('POST', path, body, operationMaxMs);
    return answer.type === 'async' ? this.wait(answer.operation ?? '') : undefined;
  }

  /** The bytes at that path, as they come. */
  async *download(path: string): AsyncGenerator<Uint8Array> {
    const answer = await this.#request('GET', path, undefined, operationMaxMs);
    if (answer.statusCode !== 200) throw failure(path, parse(await textOf(answer)), answer.statusCode ?? 0);
    for await (const chunk of answer) yield chunk as Buffer;
  }

  async text(path: string): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const chunk of this.download(path)) parts.push(chunk);
    return Buffer.concat(parts).toString();
  }

  /** Waits for the end of an operation. @throws CloudosError with what the daemon says of its failure */
  async wait(path: string): Promise<Operation> {
    const seconds = Math.ceil(operationMaxMs / 1000);
    const answer = await this.#call('GET', `${path}/wait?timeout=${seconds}`, undefined, operationMaxMs + 10_000);
    const operation = answer.metadata as Operation;
    if (operation.status_code === 200) return operation;
    throw failure(path, { type: 'error', error: operation.err }, operation.status_code);
  }

  /** A WebSocket of the daemon. */
  webSocket(path: string): WebSocket {
    return new WebSocket(`ws+unix://${this.#socket}:${path}`, { handshakeTimeout: this.#timeoutMs });
  }

  async #call(method: string, path: string, body?: Body, timeoutMs = this.#timeoutMs): Promise<Envelope> {
    const answer = await this.#request(method, path, body, timeoutMs);
    const envelope = parse(await textOf(answer));
    if (envelope.type === 'error') throw failure(`${method} ${path}`, envelope, answer.statusCode ?? 0);
    return envelope;
  }

  #request(method: string, path: string, body: Body | undefined, timeoutMs: number): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = body && {
        ...body.headers,
        'content-type': body.type,
        ...(body.length === undefined ? {} : { 'content-length': body.length }),
      };
      const sent = request({ socketPath: this.#socket, method, path, headers: headers ?? {}, timeout: timeoutMs });
      const failed = (error: unknown) => reject(unreachable(this.#socket, error));
      sent.once('response', resolve);
      sent.once('error', failed);
      sent.once('timeout', () => sent.destroy(new Error(`no answer in ${timeoutMs} ms`)));
      if (!body) sent.end();
      else if (typeof body.source === 'string') sent.end(body.source);
      else pipeline(body.source, sent).catch(failed);
    });
  }
}

function json(value: unknown): Body {
  const source = JSON.stringify(value);
  return { type: 'application/json', length: Buffer.byteLength(source), source };
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of answer) {
    size += (part as Buffer).length;
    if (size > answerMaxBytes) throw new CloudosError('HOST_COMMAND_FAILED', 'an answer of the daemon is too large');
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString();
}

function parse(text: string): Envelope {
  try {
    return JSON.parse(text) as Envelope;
  } catch {
    return { type: 'error', error: `no JSON: ${text.slice(0, 200)}` };
  }
}

/** The HTTP status that the daemon failed a request with. */
export function statusOfError(error: unknown): number | undefined {
  return (error as { details?: { status?: number } }).details?.status;
}

function failure(about: string, { error = 'no reason given', error_code: code }: Envelope, status: number) {
  const full = /no space left on device|disk quota exceeded/i.test(error);
  return new CloudosError(full ? 'DISK_FULL' : 'HOST_COMMAND_FAILED', `${about}: ${error}`, {
    details: { status: code || status },
  });
}

function unreachable(socket: string, error: unknown): CloudosError {
  const flavour = /incus/.test(socket) ? 'incus' : 'lxd';
  const remedy =
    (error as NodeJS.ErrnoException).code === 'EACCES'
      ? `Run as root, or as a member of the group ${daemonFlavour(flavour).group}.`
      : daemonRemedy;
  return new CloudosError('RUNTIME_UNAVAILABLE', `no daemon answers at ${socket}: ${messageOf(error)}`, {
    cause: error,
    remedy,
  });
}
