import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Backend } from './endpoint-pool.ts';
import { type Attempt, attempt } from './http-attempt.ts';
import { endToEnd, hasBody, isIdempotent } from './http-headers.ts';
import type { PortProxy, ProxyContext } from './listener.ts';
import { upgrade } from './upgrade-proxy.ts';

/** Idle connections of clients are kept that long: longer than usual clients keep theirs, so that they close first. */
const clientKeepAliveMs = 75_000;
/** How often one request is tried at most, over all endpoints. */
const attemptsMax = 5;

/** Balances each request. HTTP/1.1 on both sides; trailers are not passed on. */
export function httpProxy(context: ProxyContext): PortProxy {
  const { config } = context;
  const tunnels = new Set<Socket>();
  const server = createServer({ keepAliveTimeout: clientKeepAliveMs, noDelay: true }, (request, response) => {
    void serve(request, response, context);
  });
  server.maxConnections = config.connectionsMax;
  server.on('drop', () => context.logger.warn(`${context.label}: more than ${config.connectionsMax} connections`));
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    tunnels.add(socket);
    socket.on('close', () => tunnels.delete(socket));
    socket.on('error', () => socket.destroy());
    void upgrade(request, socket, head, context);
  });
  let closing = false;
  server.on('request', (_request, response) => {
    if (closing) response.shouldKeepAlive = false;
    response.once('close', () => {
      if (closing) setImmediate(() => server.closeIdleConnections());
    });
  });
  return {
    server,
    async close(drainMs) {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const cancel = context.clock.after(drainMs, () => {
        server.closeAllConnections();
        for (const socket of tunnels) socket.destroy();
      });
      await closed;
      cancel();
    },
  };
}

async function serve(request: IncomingMessage, response: ServerResponse, context: ProxyContext): Promise<void> {
  const { pool, config } = context;
  const tried = new Set<Backend>();
  // A request that must not be sent twice goes over a new connection: an idle one may be closed under it.
  const repeatable = isIdempotent(request) && !hasBody(request);
  let last: Attempt | undefined;
  for (let count = 0; count < attemptsMax && !response.destroyed; count++) {
    await pool.available(config.endpointWaitMs);
    const backend = pool.pick(tried);
    if (!backend) break;
    last = await attempt(request, response, backend, { fresh: !repeatable || count > 0, context });
    if (last.kind === 'answered') return relay(last.answer, response);
    if (last.kind === 'aborted') return;
    // An idle connection that was closed says nothing about the endpoint: it may be tried again.
    if (last.kind !== 'stale') {
      tried.add(backend);
      pool.failed(backend);
    }
    context.logger.debug(`${context.label}: ${backend.instance}: ${last.reason}`);
    const again = last.kind === 'not-sent' || (repeatable && last.kind !== 'late');
    if (!again) break;
  }
  turnAway(response, context.label, last);
}

/** Passes on an answer. When the endpoint breaks off in the middle, so does the answer: it must not look complete. */
function relay(answer: IncomingMessage, response: ServerResponse): void {
  if (response.destroyed) {
    answer.destroy();
    return;
  }
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage, endToEnd(answer));
  answer.on('error', () => response.destroy());
  answer.on('close', () => {
    if (!answer.complete) response.destroy();
  });
  answer.pipe(response);
}

function turnAway(response: ServerResponse, label: string, last: Attempt | undefined): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const text = { 'content-type': 'text/plain; charset=utf-8' };
  if (last?.kind === 'late') {
    response.writeHead(504, text).end(`${label}: ${last.reason}\n`);
  } else if (last?.kind === 'broken') {
    response.writeHead(502, text).end(`${label}: ${last.reason}\n`);
  } else {
    response.writeHead(503, { ...text, 'retry-after': '1' }).end(`${label}: no ready instance\n`);
  }
}
