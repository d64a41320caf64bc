import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Kernel } from '@cloudos/kernel';
import { CloudosError, type Logger } from '@cloudos/sdk';
import { type WebSocket, WebSocketServer } from 'ws';
import { type Access, offeredProtocols } from './access/access.ts';
import { assertScope, type Principal } from './access/principal.ts';
import { openSession, type Session } from './access/session.ts';
import type { GatewayBounds } from './bounds.ts';
import { errorBodyOf, headersOf, httpStatusOf } from './error-response.ts';
import { deflateOffers, deflateOptions } from './events/deflate.ts';
import { serveEvents } from './events/event-session.ts';
import type { Feed } from './events/feed.ts';
import { assertReached, feedQuery, filtersOf } from './events/feed-query.ts';
import { serveNamed } from './events/named/named-session.ts';
import type { NamedSubscriptions } from './events/named/named-subscriptions.ts';
import { ExecSocket, execRequestOf } from './exec-socket.ts';
import { keepAlive } from './heartbeat.ts';
import { execQuery, parsed, queryOf } from './queries.ts';
import { routeNotFound } from './routes/app.ts';
import type { Route } from './routes/route.ts';
import { socketRoutes } from './routes/socket-routes.ts';

export interface UpgradeContext {
  readonly kernel: Kernel;
  readonly feed: Feed;
  readonly named: NamedSubscriptions;
  readonly access: Access;
  readonly bounds: GatewayBounds;
  readonly logger: Logger;
  readonly routes: readonly Route[];
}

/** How many sockets are open, by what they carry. */
export interface SocketCounts {
  readonly subscriptions: number;
  readonly execs: number;
}

/** Close code of a WebSocket whose token was revoked or has expired; the reason is the error code. */
export const accessEndedCloseCode = 4401;

interface SocketService {
  readonly kind: keyof SocketCounts;
  /** Subprotocols that are spoken here; the first is spoken to a peer that offers none. */
  readonly protocols: readonly string[];
  /** Whether messages may be compressed. Default false. */
  readonly deflates?: boolean;
  /** @param connection what carries the WebSocket */
  serve(socket: WebSocket, session: Session, connection: Duplex): void;
}

/** The WebSocket side of the gateway. A refused handshake is answered with an HTTP status and an error body. */
export class Upgrades {
  readonly #context: UpgradeContext;
  readonly #server: WebSocketServer;
  readonly #open = new Map<WebSocket, keyof SocketCounts>();
  /** The subprotocol chosen for a handshake under way. */
  readonly #chosen = new WeakMap<IncomingMessage, string>();

  constructor(context: UpgradeContext) {
    this.#context = context;
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: context.bounds.frameMaxBytes,
      perMessageDeflate: deflateOptions,
      clientTracking: false,
      handleProtocols: (_offered, request) => this.#chosen.get(request) ?? false,
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
      const protocols = request.headers['sec-websocket-protocol'];
      const address = request.socket.remoteAddress ?? '';
      const principal = this.#context.access.authenticate({
        address,
        origin: request.headers.origin,
        authorization: request.headers.authorization,
        protocols,
      });
      const route = this.#route(url, request.method ?? 'GET', principal);
      const chosen = chosenProtocol(protocols, route.protocols);
      if (chosen !== undefined) this.#chosen.set(request, chosen);
      if (this.#open.size >= this.#context.bounds.socketsMax) {
        throw new CloudosError('GATEWAY_OVERLOADED', `${this.#open.size} WebSockets are open, as many as are allowed`);
      }
      const hold = this.#hold(principal, address, socket, route);
      // An offer that cannot be taken is no reason to refuse: the connection is then not compressed.
      const offers = route.deflates ? deflateOffers(request.headers['sec-websocket-extensions']) : undefined;
      if (offers === undefined) delete request.headers['sec-websocket-extensions'];
      else request.headers['sec-websocket-extensions'] = offers;
      this.#server.handleUpgrade(request, socket, head, (webSocket) => this.#serve(webSocket, socket, route, hold));
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

  #route(url: URL, method: string, principal: Principal): SocketService {
    const { kernel, feed, named, bounds } = this.#context;
    if (url.pathname === '/v1/events') {
      const query = parsed(feedQuery, queryOf(url.searchParams));
      if (query.subscription !== undefined && query.to !== undefined) {
        throw new CloudosError(
          'REQUEST_MALFORMED',
          `to=${query.to} was given with a named subscription, which has no end`,
        );
      }
      const filter = filtersOf(query, principal);
      assertReached(query.from, kernel.log.head());
      return {
        kind: 'subscriptions',
        deflates: query.deflate,
        protocols: socketRoutes.events.protocols,
        serve: (socket, session, connection) => {
          const served = { kernel, feed, named, session, query, filter };
          if (query.subscription === undefined) void serveEvents(socket, connection, served);
          else void serveNamed(socket, connection, served, query.subscription);
        },
      };
    }
    const instance = /^\/v1\/instances\/([^/]+)\/exec$/.exec(url.pathname)?.[1];
    if (instance === undefined) throw routeNotFound(this.#context.routes, `${method} (WebSocket)`, url.pathname);
    // A client is not told why a handshake was refused: what is wrong with the query goes through the status channel.
    const request = () =>
      execRequestOf(parsed(execQuery, { command: [], ...queryOf(url.searchParams, ['command', 'env']) }));
    assertScope(principal, 'guests:exec');
    const id = decodeURIComponent(instance);
    return {
      kind: 'execs',
      protocols: socketRoutes.exec.protocols,
      serve: (socket, session) => void new ExecSocket(socket, bounds, () => session.charge()).run(kernel, id, request),
    };
  }

  /** Counts a connection from the handshake on, and ends it with the token. */
  #hold(principal: Principal, address: string, socket: Duplex, { kind }: SocketService): HeldSession {
    const held: HeldSession = {
      session: openSession(this.#context.access, principal, address, ({ code }) => {
        if (held.webSocket) endNow(held.webSocket, code);
        else socket.destroy();
      }),
      webSocket: undefined,
    };
    socket.once('close', held.session.release);
    if (kind === 'subscriptions') socket.once('close', held.session.subscription());
    return held;
  }

  #serve(socket: WebSocket, connection: Duplex, { kind, serve }: SocketService, held: HeldSession): void {
    held.webSocket = socket;
    this.#open.set(socket, kind);
    // A broken frame: the package closes the socket with 1002, 1007 or 1009, and tells us here.
    socket.on('error', (error) => this.#context.logger.debug('a WebSocket failed', { error: error.message }));
    socket.on('close', () => this.#open.delete(socket));
    keepAlive(socket, this.#context.bounds.heartbeatMs);
    try {
      serve(socket, held.session, connection);
    } catch (error) {
      const body = errorBodyOf(error);
      this.#context.logger.error('a WebSocket could not be served', { code: body.code, error: body.message });
      socket.close(1011, body.code);
    }
  }
}

/** How long a peer whose token has ended may take to close. */
const endGraceMs = 1_000;

/** Takes nothing more of a peer whose token has ended, and ends the connection whether it answers or not. */
function endNow(webSocket: WebSocket, reason: string): void {
  webSocket.removeAllListeners('message');
  webSocket.close(accessEndedCloseCode, reason);
  webSocket.resume();
  setTimeout(() => webSocket.terminate(), endGraceMs).unref();
}

interface HeldSession {
  readonly session: ReturnType<typeof openSession>;
  webSocket: WebSocket | undefined;
}

/**
 * The first offered subprotocol that is spoken here; undefined for a peer that offers none.
 * @throws CloudosError SUBPROTOCOL_UNSUPPORTED
 */
function chosenProtocol(header: string | undefined, spoken: readonly string[]): string | undefined {
  if (header === undefined) return undefined;
  const offered = offeredProtocols(header);
  const chosen = offered.find((each) => spoken.includes(each));
  if (chosen !== undefined) return chosen;
  throw new CloudosError(
    'SUBPROTOCOL_UNSUPPORTED',
    `the handshake offers ${offered.join(', ') || 'no subprotocol beside the token'}; spoken here: ${spoken.join(', ')}`,
    { details: { offered, spoken } },
  );
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
    ...Object.entries(headersOf(body)).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.once('finish', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
}
