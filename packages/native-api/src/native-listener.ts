import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ApiAddress, type ApiContext, CloudosError, type ErrorCode, messageOf } from '@cloudos/sdk';
import { sendJson } from './body.ts';
import type { ListenConfig } from './listen-config.ts';
import { ensureToken, isBearer } from './token.ts';

/** Answers a request that may be answered: the listener has checked who sent it. A throw is answered with 500. */
export type NativeRequestHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export interface NativeListenerOptions {
  readonly context: Pick<ApiContext, 'scope' | 'logger' | 'dataDir'>;
  readonly config: ListenConfig;
  readonly handle: NativeRequestHandler;
}

/** How long answers under way may go on when the listener closes. */
export const closeGraceMs = 500;

const loopbackHosts = new Set(['127.0.0.1', '::1', 'localhost']);

/**
 * The HTTP listener of an `api` plugin. It is closed with the scope of the plugin. Pages in a browser are kept out, be
 * it that they say so (`Origin`) or that a name of theirs was made to lead here (`Host`): where there is no token,
 * nothing else would stop them.
 */
export class NativeListener {
  readonly #options: NativeListenerOptions;
  #server: Server | undefined;
  #url = '';
  #token: string | undefined;

  constructor(options: NativeListenerOptions) {
    this.#options = options;
    options.context.scope.defer('native api', () => this.close());
  }

  /** Begins to listen. @throws CloudosError PORT_IN_USE, PERMISSION_DENIED, PLUGIN_CONFIG_INVALID */
  async open(): Promise<ApiAddress> {
    if (this.#server) return { url: this.#url };
    const { config, context } = this.#options;
    if (config.token === 'none' && !loopbackHosts.has(config.host)) {
      throw new CloudosError(
        'PLUGIN_CONFIG_INVALID',
        `host ${config.host} is not loopback, and token is "none": anyone who reaches it could use it`,
        { remedy: 'Set token: file, or listen on 127.0.0.1.' },
      );
    }
    this.#token = config.token === 'file' ? await ensureToken(context.dataDir) : undefined;
    const server = createServer((request, response) => void this.#serve(request, response));
    server.maxConnections = config.connectionsMax;
    server.requestTimeout = 0; // streams of a native API last; each handler bounds its own request
    const port = await listen(server, config.host, config.port);
    this.#server = server;
    this.#url = `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`;
    return { url: this.#url };
  }

  /** Answers under way may end within {@link closeGraceMs}; then every connection is ended. */
  async close(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const late = setTimeout(() => server.closeAllConnections(), closeGraceMs);
    await closed;
    clearTimeout(late);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { handle, context } = this.#options;
    const refusal = this.#refusalOf(request);
    if (refusal) {
      const { status, code, message } = refusal;
      if (status === 401) response.setHeader('www-authenticate', 'Bearer');
      return sendJson(response, status, { code, message });
    }
    try {
      await handle(request, response);
    } catch (error) {
      context.logger.error(`${request.method} ${request.url?.slice(0, 200)}: ${messageOf(error)}`);
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { code: 'INTERNAL', message: messageOf(error) });
    }
  }

  #refusalOf({ headers }: IncomingMessage): { status: number; code: ErrorCode; message: string } | undefined {
    const { config } = this.#options;
    if (headers.origin !== undefined && headers.origin !== this.#url) {
      const message = `a page of ${headers.origin} sent the request; pages may not use this API`;
      return { status: 403, code: 'ORIGIN_FORBIDDEN', message };
    }
    if (loopbackHosts.has(config.host) && !isLoopbackName(headers.host ?? '')) {
      const message = `the request is for ${headers.host}; this is ${this.#url}`;
      return { status: 403, code: 'ORIGIN_FORBIDDEN', message };
    }
    if (this.#token !== undefined && !isBearer(headers.authorization, this.#token)) {
      const message = 'send "Authorization: Bearer <token>" with the token in the data directory of the plugin';
      return { status: 401, code: 'UNAUTHENTICATED', message };
    }
    return undefined;
  }
}

function isLoopbackName(host: string): boolean {
  return loopbackHosts.has(
    host
      .replace(/:\d+$/, '')
      .replace(/^\[|\]$/g, '')
      .toLowerCase(),
  );
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen(port, host, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): CloudosError {
  const code: ErrorCode =
    error.code === 'EADDRINUSE'
      ? 'PORT_IN_USE'
      : error.code === 'EACCES'
        ? 'PERMISSION_DENIED'
        : 'PLUGIN_CONFIG_INVALID';
  return new CloudosError(code, `listening on ${host}:${port} failed: ${messageOf(error)}`, {
    cause: error,
    remedy: 'Give another host or port in the configuration of the plugin; port 0 takes any free one.',
    details: { host, port },
  });
}
