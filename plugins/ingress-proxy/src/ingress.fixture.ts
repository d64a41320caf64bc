import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type IngressService, Scope, type ServiceSpec, silentLogger, systemClock } from '@cloudos/sdk';
import { type IngressProxyConfig, ingressProxyConfig } from './config.ts';
import { PortBook } from './port-book.ts';
import { ProxyIngress } from './proxy-ingress.ts';

/** Everything that a spec opens, closed by `scope.close()`. */
export interface Bench {
  readonly scope: Scope;
  readonly dataDir: string;
  ingress(config?: Partial<IngressProxyConfig>): Promise<ProxyIngress>;
  backend(name: string, listener?: RequestListener): Promise<TestBackend>;
  tcp(onConnection: (socket: Socket) => void): Promise<number>;
}

export interface TestBackend {
  readonly name: string;
  readonly port: number;
  readonly server: Server;
  /** Requests that arrived, as `METHOD path`. */
  readonly seen: string[];
  /** As a process that is killed: nothing listens, open connections break. */
  die(): void;
}

export function bench(): Bench {
  nextPort += 1;
  const scope = new Scope('spec');
  const dataDir = mkdtempSync(join(tmpdir(), 'ingress-'));
  scope.defer('data', () => rmSync(dataDir, { recursive: true, force: true }));
  return {
    scope,
    dataDir,
    ingress: (config = {}) =>
      scope.acquire(
        'ingress',
        () =>
          new ProxyIngress({
            config: ingressProxyConfig.parse({
              endpointWaitMs: 100,
              connectTimeoutMs: 30_000,
              drainMs: 500,
              ...config,
            }),
            clock: systemClock,
            logger: silentLogger,
            ports: new PortBook(join(dataDir, 'ports.json'), silentLogger),
          }),
        (ingress) => ingress.close(),
      ),
    backend: (name, listener) => openBackend(scope, name, listener),
    tcp: (onConnection) => openTcp(scope, onConnection),
  };
}

async function openBackend(scope: Scope, name: string, listener?: RequestListener): Promise<TestBackend> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    if (listener) listener(request, response);
    else response.end(name);
  });
  const port = await listening(server);
  const die = () => {
    server.close();
    server.closeAllConnections();
  };
  scope.defer(name, die);
  return { name, port, server, seen, die };
}

async function openTcp(scope: Scope, onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  scope.defer('tcp', () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return listening(server);
}

function listening(server: NetServer): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** A port on which nothing listens. */
export async function freePort(): Promise<number> {
  const server = createTcpServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Another for each spec: clients keep connections to a port beyond the spec that they made them for. */
let nextPort = 18_080 + (process.pid % 1_000) * 20;

/** A service `default/web` with one HTTP port, over these backends. */
export function service(
  backends: readonly { name: string; port: number }[],
  port: Partial<ServiceSpec['ports'][number]> = {},
  name = 'default/web',
): IngressService {
  const ports = [{ port: nextPort, targetPort: 8080, protocol: 'tcp' as const, appProtocol: 'http', ...port }];
  return {
    spec: { service: name, selector: {}, ports },
    endpoints: backends.map((backend) => ({
      instance: backend.name,
      node: 'n1',
      host: '127.0.0.1',
      ports: { [String(ports[0]?.targetPort)]: backend.port },
    })),
  };
}
