import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';

/** Where the bytes for one subscriber go. */
export interface Sink {
  readonly isOpen: boolean;
  /** Bytes that were written and that the peer has not taken yet. */
  readonly waitingBytes: number;
  write(bytes: Uint8Array): void;
  /** Calls back whenever everything that waited was taken. */
  onDrain(callback: () => void): void;
  /** Calls back once, when the peer is gone or the sink was closed. */
  onClose(callback: () => void): void;
  close(reason: CloseReason): void;
}

/** Why a feed ends. */
export interface CloseReason {
  /** WebSocket close code (RFC 6455, 7.4). */
  readonly code: number;
  readonly text: string;
  /** The connection is ended even if the peer does not answer. */
  readonly isForced?: boolean;
}

/** How long a peer may take to close that is forced to. */
const forcedCloseMs = 5_000;

/**
 * A WebSocket whose frames are made elsewhere, once for many subscribers, and written to the connection beneath it.
 * The package goes on answering pings and closing: its frames and ours are whole, so they may follow each other.
 */
export class SocketSink implements Sink {
  readonly #webSocket: WebSocket;
  readonly #connection: Duplex;

  constructor(webSocket: WebSocket, connection: Duplex) {
    this.#webSocket = webSocket;
    this.#connection = connection;
  }

  get isOpen(): boolean {
    return this.#webSocket.readyState === WebSocket.OPEN;
  }

  get waitingBytes(): number {
    return this.#connection.writableLength;
  }

  write(bytes: Uint8Array): void {
    if (this.isOpen) this.#connection.write(bytes);
  }

  onDrain(callback: () => void): void {
    this.#connection.on('drain', callback);
  }

  onClose(callback: () => void): void {
    this.#webSocket.on('close', callback);
  }

  close({ code, text, isForced }: CloseReason): void {
    this.#webSocket.close(code, closeReason(text));
    // One that is not read would not hear that its peer has closed too, and both would wait for that.
    this.#webSocket.resume();
    // A peer that takes nothing does not take the close frame either.
    if (isForced) setTimeout(() => this.#webSocket.terminate(), forcedCloseMs).unref();
  }
}

/** The body of an HTTP answer that goes on. */
export class BodySink implements Sink {
  readonly body: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly #strategy = new ByteLengthQueuingStrategy({ highWaterMark: 64 * 1024 });
  #drained: () => void = () => {};
  readonly #closed: (() => void)[] = [];
  isOpen = true;

  /** @param onLeft called when the client leaves before the end */
  constructor(onLeft: () => void = () => {}) {
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          if (this.waitingBytes === 0) this.#drained();
        },
        cancel: () => {
          this.#end();
          onLeft();
        },
      },
      this.#strategy,
    );
  }

  get waitingBytes(): number {
    return this.isOpen ? Math.max(0, this.#strategy.highWaterMark - (this.#controller.desiredSize ?? 0)) : 0;
  }

  write(bytes: Uint8Array): void {
    if (this.isOpen) this.#controller.enqueue(bytes);
  }

  onDrain(callback: () => void): void {
    this.#drained = callback;
  }

  onClose(callback: () => void): void {
    this.#closed.push(callback);
  }

  close(_reason: CloseReason): void {
    if (!this.isOpen) return;
    this.#controller.close();
    this.#end();
  }

  #end(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    for (const callback of this.#closed.splice(0)) callback();
  }
}

/** A close reason holds at most 123 bytes (RFC 6455, 5.5). */
export function closeReason(text: string): string {
  let reason = text;
  while (Buffer.byteLength(reason) > 123) reason = reason.slice(0, -1);
  return reason;
}
