import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError, type Logger } from '@cloudos/sdk';
import { type WebSocket, WebSocketServer } from 'ws';
import { type AccessRules, assertAccess } from './access.ts';
import type { GatewayBounds } from './bounds.ts';
import { errorBodyOf, httpStatusOf } from './error-response.ts';
import { EventSocket, startOf } from './event-socket.ts';
import { ExecSocket, execRequestOf } from './exec-socket.ts';
import { keepAlive } from './heartbeat.ts';
import { execQuery, parsed, queryOf, subscriptionQuery } from './queries.ts';
import { routeNotFound } from './routes.ts';

export interface UpgradeContext {
  readonly kernel: Kernel;
  readonly rules: () => AccessRules;
  readonly bounds: GatewayBounds;
  readonly logger: Logger;
}

/** How many sockets are open, by what they carry. */
export interface SocketCounts {
  readonly subscriptions: number;
  readonly execs: number;
}

type Serve = (socket: WebSocket) => void;

/** The WebSocket side of the gateway. A refused handshake is answered with an HTTP status and an error body. */
export class Upgrades {
  readonly #context: UpgradeContext;
  readonly #server: WebSocketServer;
  readonly #open = new Map<WebSocket, keyof SocketCounts>();

  constructor(context: UpgradeContext) {
    this.#context = context;
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: context.bounds.frameMaxBytes,
      perMessageDeflate: false,
      clientTracking: false,
    });
    // Without a listener the package answers a broken handshake with plain text of its own.
    this.#server.on('wsClientError', (error, socket) => {
      refuseUpgrade(
        socket,
        new CloudosError('REQUEST_MALFORMED', `the WebSocket handshake is broken: ${error.message}`),
      );
    });
  }

  counts(): SocketCounts {
    const kinds = [...this.#open.values()];
    return {
      subscriptions: kinds.filter((kind) => kind === 'subscriptions').length,
      execs: kinds.filter((kind) => kind === 'execs').length,
    };
  }

  handle(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    try {
      const url = requestUrl(request);
      assertAccess(this.#context.rules(), {
        origin: request.headers.origin,
        authorization: request.headers.authorization,
        queryToken: url.searchParams.get('token') ?? undefined,
      });
      const { kind, serve } = this.#route(url, request.method ?? 'GET');
      if (this.#open.size >= this.#context.bounds.socketsMax) {
        throw new CloudosError('GATEWAY_OVERLOADED', `${this.#open.size} WebSockets are open, as many as are allowed`);
      }
      this.#server.handleUpgrade(request, socket, head, (webSocket) => this.#serve(webSocket, kind, serve));
    } catch (error) {
      refuseUpgrade(socket, error);
    }
  }

  /** Asks every peer to close, and ends those that have not when the grace is over. */
  async close(graceMs: number): Promise<void> {
    const open = [...this.#open.keys()];
    const closed = Promise.all(open.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    for (const socket of open) socket.close(1001, 'the gateway stops');
    const late = setTimeout(() => {
      for (const socket of open) socket.terminate();
    }, graceMs);
    await closed;
    clearTimeout(late);
    this.#server.close();
  }

  #route(url: URL, method: string): { kind: keyof SocketCounts; serve: Serve } {
    const { kernel, bounds } = this.#context;
    if (url.pathname === '/v1/events') {
      const query = parsed(subscriptionQuery, queryOf(url.searchParams));
      startOf(query, kernel.log.head());
      return { kind: 'subscriptions', serve: (socket) => new EventSocket(socket, kernel, query, bounds) };
    }
    const instance = /^\/v1\/instances\/([^/]+)\/exec$/.exec(url.pathname)?.[1];
    if (instance === undefined) throw routeNotFound(`${method} (WebSocket)`, url.pathname);
    // A client is not told why a handshake was refused: what is wrong with the query goes through the status channel.
    const request = () =>
      execRequestOf(parsed(execQuery, { command: [], ...queryOf(url.searchParams, ['command', 'env']) }));
    const id = decodeURIComponent(instance);
    return { kind: 'execs', serve: (socket) => void new ExecSocket(socket, bounds).run(kernel, id, request) };
  }

  #serve(socket: WebSocket, kind: keyof SocketCounts, serve: Serve): void {
    this.#open.set(socket, kind);
    // A broken frame: the package closes the socket with 1002, 1007 or 1009, and tells us here.
    socket.on('error', (error) => this.#context.logger.debug('a WebSocket failed', { error: error.message }));
    socket.on('close', () => this.#open.delete(socket));
    keepAlive(socket, this.#context.bounds.heartbeatMs);
    try {
      serve(socket);
    } catch (error) {
      const body = errorBodyOf(error);
      this.#context.logger.error('a WebSocket could not be served', { code: body.code, error: body.message });
      socket.close(1011, body.code);
    }
  }
}

function requestUrl(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'http://gateway');
  } catch {
    throw new CloudosError('REQUEST_MALFORMED', `${JSON.stringify(request.url)} is not a path`);
  }
}

/** Answers on the bare socket, and closes it. */
export function refuseUpgrade(socket: Duplex, thrown: unknown): void {
  const body = errorBodyOf(thrown);
  const text = JSON.stringify(body);
  const status = httpStatusOf(body.code);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
  ];
  socket.once('finish', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
}
