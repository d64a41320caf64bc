import { CloudosError, messageOf, type RecordedEvent } from '@cloudos/sdk';
import { BatchDecoder, type DecodedBatch, type subprotocols } from './batch.codec.ts';
import { type CloudEvent, fromCloudEvent } from './cloud-event.ts';
import {
  type ControlError,
  type ControlEvent,
  type ControlMarkers,
  type ControlMethod,
  type ControlMethods,
  type ControlName,
  type ControlResponse,
  controlTypePrefix,
} from './control.ts';
import { errorOfBody } from './http.ts';
import type { WebSocketConstructor, WebSocketLike } from './web-socket.ts';

/** What one connection of the event feed brings. */
export interface ConnectionSink {
  opened(): void;
  /** Events in order, and how far the feed has come with them (deliveries of a named subscription have no such place). */
  events(events: readonly RecordedEvent[], last: number): void;
  marker<Name extends ControlName>(name: Name, data: ControlMarkers[Name]): void;
  closed(close: { readonly code: number | undefined; readonly reason: string }): void;
}

/** A JSON-RPC request that waits for its answer. One of the two is called, once. */
export interface Waiting<Result> {
  resolve(result: Result): void;
  /** @param isUnknown the gateway has no such method */
  reject(error: unknown, isUnknown?: boolean): void;
}

const methodNotFound = -32601;

/** Requests in one message: small enough that the first are under way while the last are still being read. */
const batchMax = 256;

/** One connection of the event feed, in either subprotocol: events and markers in, requests out. */
export class ControlConnection {
  readonly #socket: WebSocketLike;
  readonly #sink: ConnectionSink;
  readonly #decoder = new BatchDecoder();
  readonly #waiting = new Map<number, Waiting<never>>();
  #queue: string[] = [];
  #nextId = 1;
  #isOpen = false;
  #isOver = false;

  constructor(webSocket: WebSocketConstructor, url: string, protocols: string[], sink: ConnectionSink) {
    this.#sink = sink;
    this.#socket = new webSocket(url, protocols);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.addEventListener('open', () => {
      this.#isOpen = true;
      this.#flush();
      if (!this.#isOver) sink.opened();
    });
    this.#socket.addEventListener('message', ({ data }) => this.#receive(data));
    this.#socket.addEventListener('error', () => {});
    this.#socket.addEventListener('close', ({ code, reason }) => this.#closed(code, reason ?? ''));
  }

  /** Requests of the same turn go out in one message, in the order of the calls. */
  call<Method extends ControlMethod>(
    method: Method,
    params: ControlMethods[Method]['params'],
  ): Promise<ControlMethods[Method]['result']> {
    return new Promise((resolve, reject) => this.request(method, params, { resolve, reject }));
  }

  /** The same for one who has a promise of its own. What stands in the parameters is read at once. */
  request<Method extends ControlMethod>(
    method: Method,
    params: ControlMethods[Method]['params'],
    waiting: Waiting<ControlMethods[Method]['result']>,
  ): void {
    if (this.#isOver) return waiting.reject(lost('it was closed'));
    const queued = this.#queue.push(this.#requestText(method, JSON.stringify(params), waiting));
    if (queued === 1) queueMicrotask(() => this.#flush());
    // The other end works on these while the rest are still being made.
    else if (queued === batchMax) this.#flush();
  }

  /**
   * A request in a message of its own, which goes out at once. The connection must be open.
   * @param params as JSON
   */
  requestNow<Method extends ControlMethod>(
    method: Method,
    params: string,
    waiting: Waiting<ControlMethods[Method]['result']>,
  ): void {
    if (this.#isOver) return waiting.reject(lost('it was closed'));
    this.#flush();
    this.#socket.send(this.#requestText(method, params, waiting));
  }

  #requestText<Method extends ControlMethod>(
    method: Method,
    params: string,
    waiting: Waiting<ControlMethods[Method]['result']>,
  ): string {
    const id = this.#nextId++;
    this.#waiting.set(id, waiting);
    return `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`;
  }

  /** Nothing is told any more, not even the close. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.close(1000);
    this.#fail(lost('it was closed'));
  }

  #flush(): void {
    if (!this.#isOpen || this.#isOver) return;
    const requests = this.#queue;
    this.#queue = [];
    for (let at = 0; at < requests.length; at += batchMax) {
      const batch = requests.slice(at, at + batchMax);
      this.#socket.send(batch.length === 1 ? (batch[0] as string) : `[${batch.join(',')}]`);
    }
  }

  #receive(data: unknown): void {
    if (this.#isOver) return;
    let batch: DecodedBatch | undefined;
    let message: Message | Message[] = [];
    try {
      if (typeof data === 'string') message = JSON.parse(data) as Message | Message[];
      else batch = this.#decoder.decode(new Uint8Array(data as ArrayBuffer));
    } catch (error) {
      // What comes after it cannot be told apart from what is missing: the connection is of no use any more.
      this.#socket.close(1000);
      return this.#closed(1002, `the gateway sent what cannot be decoded: ${messageOf(error)}`);
    }
    if (batch) {
      if (batch.last >= 0) this.#sink.events(batch.events, batch.last);
    } else if (Array.isArray(message)) for (const each of message) this.#take(each);
    else this.#take(message);
  }

  #take(message: Message): void {
    if ('jsonrpc' in message) {
      if ('method' in message) {
        const name = `${message.method.charAt(0).toUpperCase()}${message.method.slice(1)}` as ControlName;
        this.#sink.marker(name, message.params as never);
      } else this.#answered(message);
    } else if (message.type.startsWith(controlTypePrefix)) {
      this.#sink.marker(message.type.slice(controlTypePrefix.length) as ControlName, message.data as never);
    } else {
      const event = fromCloudEvent(message as CloudEvent);
      this.#sink.events([event], event.position);
    }
  }

  #answered(response: ControlResponse): void {
    const waiting = this.#waiting.get(response.id as number);
    this.#waiting.delete(response.id as number);
    if ('result' in response) return waiting?.resolve(response.result as never);
    waiting?.reject(errorOf(response.error), response.error.code === methodNotFound);
  }

  #closed(code: number | undefined, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#fail(lost(reason || `closed with ${code ?? 'no code'}`));
    this.#sink.closed({ code, reason });
  }

  #fail(error: CloudosError): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

type Message =
  | CloudEvent
  | ControlEvent
  | ControlResponse
  | { readonly jsonrpc: '2.0'; readonly method: string; readonly params: unknown };

/** The error that a failure of the control channel stands for. */
export function errorOf({ data, message }: ControlError): CloudosError {
  return data ? errorOfBody(data) : new CloudosError('REQUEST_MALFORMED', message);
}

function lost(why: string): CloudosError {
  return new CloudosError('KERNEL_UNREACHABLE', `the connection was lost: ${why}`);
}

/** The subprotocol of that name. */
export type FeedProtocol = keyof typeof subprotocols;
