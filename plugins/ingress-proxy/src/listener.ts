import type { Server } from 'node:net';
import { type Clock, CloudosError, type Logger, messageOf } from '@cloudos/sdk';
import type { IngressProxyConfig } from './config.ts';
import type { EndpointPool } from './endpoint-pool.ts';

/** What the proxies of one service port share. */
export interface ProxyContext {
  /** `default/web:80`, for messages. */
  readonly label: string;
  readonly pool: EndpointPool;
  readonly config: IngressProxyConfig;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A proxy for one service port: a server that is not listening yet, and how to end it. */
export interface PortProxy {
  readonly server: Server;
  /** Takes no new connections, lets requests under way end for at most `drainMs`, then closes what is left. */
  close(drainMs: number): Promise<void>;
}

/**
 * Listens on a port; 0 takes any that is free.
 * @throws CloudosError PORT_IN_USE or PERMISSION_DENIED
 */
export function listen(server: Server, host: string, port: number, label: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => reject(listenError(error, host, port, label));
    server.once('error', onError);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', onError);
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number, label: string): CloudosError {
  const details = { host, port, service: label };
  if (error.code === 'EADDRINUSE') {
    return new CloudosError('PORT_IN_USE', `service ${label}: port ${port} on ${host} is taken by another process`, {
      cause: error,
      remedy: `Stop what listens there (ss -ltnp 'sport = :${port}'), or give the service another nodePort.`,
      details,
    });
  }
  if (error.code === 'EACCES') {
    return new CloudosError('PERMISSION_DENIED', `service ${label}: this user may not listen on port ${port}`, {
      cause: error,
      remedy: 'Give the service a nodePort of 1024 or higher, or run as root.',
      details,
    });
  }
  return new CloudosError('PORT_IN_USE', `service ${label}: cannot listen on ${host}:${port}: ${messageOf(error)}`, {
    cause: error,
    remedy: `Check the host of the ingress configuration (${host}): it must be an address of this machine.`,
    details,
  });
}
