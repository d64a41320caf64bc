import { connect, createServer, type Socket } from 'node:net';
import type { Backend } from './endpoint-pool.ts';
import type { PortProxy, ProxyContext } from './listener.ts';

/**
 * Balances connections. Without an endpoint, or when none can be reached, the connection is reset: the listener stays,
 * so that nobody else takes the port.
 */
export function tcpProxy(context: ProxyContext): PortProxy {
  const { config } = context;
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    clients.add(client);
    client.on('close', () => clients.delete(client));
    client.on('error', () => client.destroy());
    void serve(client, context);
  });
  server.maxConnections = config.connectionsMax;
  server.on('drop', () => context.logger.warn(`${context.label}: more than ${config.connectionsMax} connections`));
  return {
    server,
    async close(drainMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const cancel = context.clock.after(drainMs, () => {
        for (const client of clients) client.destroy();
      });
      await closed;
      cancel();
    },
  };
}

async function serve(client: Socket, { pool, config, logger, label }: ProxyContext): Promise<void> {
  await pool.available(config.endpointWaitMs);
  const tried = new Set<Backend>();
  for (let backend = pool.pick(tried); backend && !client.destroyed; backend = pool.pick(tried)) {
    tried.add(backend);
    const upstream = await dial(backend, config.connectTimeoutMs);
    if (upstream) return join(client, upstream, config.idleTimeoutMs);
    pool.failed(backend);
    logger.debug(`${label}: ${backend.instance} cannot be reached`, { host: backend.host, port: backend.port });
  }
  client.resetAndDestroy();
}

/** A connection, or undefined when it failed or took too long. */
export function dial(target: { host: string; port: number }, timeoutMs: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: target.host, port: target.port, allowHalfOpen: true, noDelay: true });
    const give = (result: Socket | undefined) => {
      socket.removeAllListeners();
      socket.setTimeout(0);
      if (!result) socket.on('error', () => {}).destroy();
      resolve(result);
    };
    socket.setTimeout(timeoutMs, () => give(undefined));
    socket.once('error', () => give(undefined));
    socket.once('connect', () => give(socket));
  });
}

/** Carries bytes both ways until both sides have ended; when one breaks off, so does the other. */
export function join(a: Socket, b: Socket, idleTimeoutMs: number): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on('error', () => to.resetAndDestroy());
    from.on('close', () => {
      if (!to.writableEnded || from.readableAborted) to.destroy();
    });
    from.setTimeout(idleTimeoutMs, () => {
      from.destroy();
      to.destroy();
    });
    from.pipe(to);
  }
  if (a.destroyed) b.destroy();
  if (b.destroyed) a.destroy();
}
