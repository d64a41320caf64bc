import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Kernel } from '@cloudos/kernel';
import { asCloudosError, CloudosError, type Logger, messageOf, silentLogger } from '@cloudos/sdk';
import { createAdaptorServer } from '@hono/node-server';
import { Access } from './access/access.ts';
import { Origins } from './access/origins.ts';
import { withoutTokens } from './access/redacted.ts';
import { ensureToken, tokenFileOf } from './access/token-file.ts';
import { TokenStore } from './access/token-store.ts';
import { defaultBounds, type GatewayBounds } from './bounds.ts';
import { Connections } from './connections.ts';
import { removeEndpoint, writeEndpoint } from './endpoint-file.ts';
import { Feed } from './events/feed.ts';
import { NamedSubscriptions } from './events/named/named-subscriptions.ts';
import { Admission } from './limits/admission.ts';
import { defaultLimits, type GatewayLimits } from './limits/limits.ts';
import { portHolder } from './port-holder.ts';
import { buildApp } from './routes/app.ts';
import { allRoutes } from './routes/routes.ts';
import { type CertificateFiles, type Identity, identityOf } from './tls/identity.ts';
import { isLoopback, urlOf } from './tls/listening.ts';
import { refuseUpgrade, type SocketCounts, Upgrades } from './upgrades.ts';

export interface GatewayOptions {
  readonly kernel: Kernel;
  /** Holds `token` and `endpoint.json`. */
  readonly stateDir: string;
  /** Default 127.0.0.1: only processes of this machine reach it. */
  readonly host?: string;
  /** 0 (the default) takes any free port; `endpoint.json` says which. */
  readonly port?: number;
  /**
   * Absent: plain on loopback, elsewhere TLS with a generated certificate. `false`: plain, wherever it listens; `true`:
   * a generated certificate; or files of one's own.
   */
  readonly tls?: boolean | CertificateFiles | undefined;
  /** Origins of browser pages that may use the gateway besides its own: `https://console.example`. */
  readonly allowedOrigins?: readonly string[];
  readonly logger?: Logger;
  readonly bounds?: Partial<GatewayBounds>;
  /** What one token and one address may use. */
  readonly limits?: Partial<GatewayLimits>;
  /** Told when a client has stopped the kernel, or has taken everything down. The kernel does not run any more. */
  onEnd?(how: 'stopped' | 'down'): void;
}

export interface Gateway {
  readonly url: string;
  readonly port: number;
  /** SHA-256 of its certificate, `AB:CD:…`; absent without TLS. */
  readonly fingerprint?: string;
  /** PEM file with its certificate. */
  readonly certificateFile?: string;
  readonly tokenFile: string;
  readonly token: string;
  connections(): SocketCounts;
  /** Bytes that wait for event subscribers, all together. */
  waitingBytes(): number;
  /** Closes every connection, and removes the endpoint file. Calling it again waits for the first. */
  close(): Promise<void>;
}

/**
 * Serves a kernel over HTTP and WebSocket.
 * @throws CloudosError PORT_IN_USE (naming who holds it), PERMISSION_DENIED
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { kernel, stateDir } = options;
  const host = options.host ?? '127.0.0.1';
  const logger = withoutTokens(options.logger ?? silentLogger);
  const bounds = { ...defaultBounds, ...options.bounds };
  const token = await ensureToken(stateDir);
  const limits = { ...defaultLimits, ...options.limits };
  const tokenFile = tokenFileOf(stateDir);
  const origins = new Origins(options.allowedOrigins ?? []);
  const tokens = await TokenStore.open(stateDir);
  const access = new Access({ token, tokenFile, tokens, logger, origins, admission: new Admission(limits) });
  const ending = endings(kernel, (how) => options.onEnd?.(how));
  const feed = new Feed(kernel, {
    bufferMaxBytes: bounds.socketBufferMaxBytes,
    slowCloseMs: bounds.slowSubscriberMs,
    readsMax: bounds.feedReadsMax,
  });
  const named = await NamedSubscriptions.open(kernel, stateDir, limits.namedSubscriptionsPerToken);
  const context = {
    kernel,
    feed,
    named,
    access,
    bounds,
    logger,
    routes: allRoutes({ kernel, feed, named, access }, ending),
  };
  const app = buildApp(context);
  const identity = await identityFor(options, host, logger);
  const server = serverOf(app.fetch, identity, bounds);
  server.maxConnections = bounds.connectionsMax;
  const connections = new Connections(server, limits.connectionsPerAddress);
  const upgrades = new Upgrades(context);
  server.on('upgrade', (request, socket, head) => upgrades.handle(request, socket, head));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const answer = answerTo(error, bounds);
    // Nothing can be said on a connection that is broken, or that has not got through its TLS handshake.
    if (answer && socket.writable) refuseUpgrade(socket, answer);
    else socket.destroy();
  });
  const port = await listen(server, host, options.port ?? 0);
  const scheme = identity ? 'https' : 'http';
  const url = urlOf(scheme, host, port);
  origins.own([url, `${scheme}://127.0.0.1:${port}`, `${scheme}://localhost:${port}`]);
  const { pid, startedAt } = kernel.status();
  try {
    await writeEndpoint(stateDir, { url, pid, startedAt, ...trustOf(identity) });
  } catch (error) {
    server.close();
    throw asCloudosError(error, 'PERMISSION_DENIED', `endpoint.json cannot be written in ${stateDir}`);
  }
  let closing: Promise<void> | undefined;
  return {
    url,
    port,
    ...trustOf(identity),
    tokenFile,
    token,
    connections: () => upgrades.counts(),
    waitingBytes: () => feed.waitingBytes(),
    close: () => {
      closing ??= removeEndpoint(stateDir, pid).then(async () => {
        const ended = upgrades.close(bounds.closeGraceMs);
        await connections.close(bounds.closeGraceMs);
        await ended;
        await named.close();
      });
      return closing;
    },
  };
}

async function identityFor(
  { tls, stateDir }: GatewayOptions,
  host: string,
  logger: Logger,
): Promise<Identity | undefined> {
  const wanted = tls ?? !isLoopback(host);
  if (wanted !== false) return identityOf(wanted, stateDir, host, logger);
  if (!isLoopback(host)) logger.warn('tokens cross the network in the clear: gateway.tls is false', { host });
  return undefined;
}

function trustOf(identity: Identity | undefined): Pick<Gateway, 'fingerprint' | 'certificateFile'> {
  return identity ? { fingerprint: identity.fingerprint, certificateFile: identity.certificateFile } : {};
}

/** Times for a client to say what it wants, so that one that says it slowly holds no connection for long. */
function serverOf(
  fetch: Parameters<typeof createAdaptorServer>[0]['fetch'],
  identity: Identity | undefined,
  bounds: GatewayBounds,
): Server {
  const times = {
    headersTimeout: bounds.headersTimeoutMs,
    requestTimeout: bounds.requestTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, bounds.headersTimeoutMs),
    // Finds out a peer that is gone without a word, also where nothing is said to it: a quiet feed over plain HTTP.
    keepAlive: true,
    keepAliveInitialDelay: bounds.heartbeatMs,
  };
  if (!identity) return createAdaptorServer({ fetch, createServer, serverOptions: times }) as Server;
  const { certificate: cert, key } = identity;
  const handshakeTimeout = bounds.headersTimeoutMs;
  const serverOptions = { ...times, cert, key, handshakeTimeout, minVersion: 'TLSv1.2' as const };
  return createAdaptorServer({ fetch, createServer: createSecureServer, serverOptions }) as Server;
}

/** What to say to a client whose request the parser of Node.js has given up. */
function answerTo({ code = '', message }: NodeJS.ErrnoException, bounds: GatewayBounds): CloudosError | undefined {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const within = `its header in ${bounds.headersTimeoutMs} ms, all of it in ${bounds.requestTimeoutMs} ms`;
    return new CloudosError('REQUEST_MALFORMED', `the request did not come in time: expected ${within}`);
  }
  if (code === 'HPE_HEADER_OVERFLOW')
    return new CloudosError('REQUEST_TOO_LARGE', `the header is too large: ${message}`);
  return code.startsWith('HPE_') ? new CloudosError('REQUEST_MALFORMED', `this is not HTTP: ${message}`) : undefined;
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      listenError(error, host, port).then(reject, reject);
    });
    server.listen(port, host, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve((server.address() as AddressInfo).port);
    });
  });
}

async function listenError(error: NodeJS.ErrnoException, host: string, port: number): Promise<CloudosError> {
  if (error.code === 'EADDRINUSE') {
    const holder = (await portHolder(port)) ?? 'another process';
    return new CloudosError('PORT_IN_USE', `the gateway cannot listen on ${host}:${port}: ${holder} does`, {
      cause: error,
      remedy: 'Stop it, or give another port in the stack file (gateway.port; 0 takes any free one).',
      details: { host, port, holder },
    });
  }
  if (error.code === 'EACCES') {
    return new CloudosError('PERMISSION_DENIED', `listening on ${host}:${port} is not permitted`, {
      cause: error,
      remedy: 'Give a port of 1024 or higher in the stack file (gateway.port).',
    });
  }
  const remedy = 'Correct gateway.host in the stack file.';
  return new CloudosError('STACK_MALFORMED', `listening on ${host}:${port} failed: ${messageOf(error)}`, {
    cause: error,
    remedy,
  });
}

/** The two ways in which a client ends the kernel; asked twice, the second waits for the first. */
function endings(kernel: Kernel, onEnd: (how: 'stopped' | 'down') => void) {
  let downing: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;
  return {
    down(onProgress: (text: string) => void): Promise<void> {
      if (!downing) {
        downing = kernel.down(onProgress);
        downing.then(
          () => setImmediate(onEnd, 'down'),
          () => {
            downing = undefined;
          },
        );
      }
      return downing;
    },
    stop(): Promise<void> {
      stopping ??= kernel.stop();
      stopping.then(
        () => setImmediate(onEnd, 'stopped'),
        () => {
          stopping = undefined;
        },
      );
      return stopping;
    },
  };
}
