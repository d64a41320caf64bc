import {
  type Clock,
  CloudosError,
  type Endpoint,
  type IngressDriver,
  type IngressService,
  type Logger,
  type ServiceAddress,
  type ServiceSpec,
} from '@cloudos/sdk';
import type { IngressProxyConfig } from './config.ts';
import { EndpointPool, type Target } from './endpoint-pool.ts';
import { httpProxy } from './http-proxy.ts';
import { listen, type PortProxy, type ProxyContext } from './listener.ts';
import type { PortBook } from './port-book.ts';
import { tcpProxy } from './tcp-proxy.ts';

type ServicePort = ServiceSpec['ports'][number];
type Mode = 'http' | 'tcp';

interface Served {
  readonly mode: Mode;
  readonly pool: EndpointPool;
  readonly proxy: PortProxy;
  readonly port: number;
}

export interface ProxyIngressOptions {
  readonly config: IngressProxyConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ports: PortBook;
}

/**
 * One listener for each port of each service. `apply` changes only what differs; calls are carried out one by one.
 * A service port that cannot be served does not keep the others from it: all are set up before the call rejects.
 */
export class ProxyIngress implements IngressDriver {
  readonly #options: ProxyIngressOptions;
  readonly #served = new Map<string, Served>();
  readonly #closing = new Set<Promise<void>>();
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: ProxyIngressOptions) {
    this.#options = options;
  }

  apply(services: readonly IngressService[]): Promise<readonly ServiceAddress[]> {
    const result = this.#turn.then(() => this.#apply(services));
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Lets requests under way end, for at most the configured time. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn;
    for (const key of [...this.#served.keys()]) this.#retire(key);
    await Promise.all(this.#closing);
  }

  async #apply(services: readonly IngressService[]): Promise<readonly ServiceAddress[]> {
    if (this.#closed) throw new CloudosError('SLOT_EMPTY', 'the ingress was closed');
    const wanted = new Set(services.flatMap(({ spec }) => spec.ports.map((port) => keyOf(spec, port))));
    for (const key of [...this.#served.keys()]) if (!wanted.has(key)) this.#retire(key);
    const failures: unknown[] = [];
    const addresses: ServiceAddress[] = [];
    for (const { spec, endpoints } of services) {
      const ports: Record<string, number> = {};
      for (const port of spec.ports) {
        try {
          const served = await this.#serve(spec, port, endpoints);
          if (served) ports[String(port.port)] = served.port;
        } catch (error) {
          failures.push(error);
        }
      }
      addresses.push({ service: spec.service, host: this.#options.config.host, ports });
    }
    if (failures.length > 0) throw failures[0];
    return addresses;
  }

  async #serve(spec: ServiceSpec, port: ServicePort, endpoints: readonly Endpoint[]): Promise<Served | undefined> {
    const key = keyOf(spec, port);
    if (port.protocol === 'udp') {
      this.#options.logger.warn(`service ${key}: UDP is not supported by ingress-proxy, the port is left out`);
      return undefined;
    }
    const mode = modeOf(port);
    let served = this.#served.get(key);
    if (served && (served.mode !== mode || (port.nodePort !== undefined && served.port !== port.nodePort))) {
      this.#retire(key);
      served = undefined;
    }
    if (!served) {
      served = await this.#open(key, port, mode);
      this.#served.set(key, served);
      this.#options.ports.set(key, served.port);
    }
    served.pool.update(targetsOf(port, endpoints));
    return served;
  }

  async #open(key: string, port: ServicePort, mode: Mode): Promise<Served> {
    const { config, clock, logger, ports } = this.#options;
    const pool = new EndpointPool(clock, config.idlePerEndpointMax);
    const context: ProxyContext = { label: key, pool, config, clock, logger };
    const remembered = ports.get(key);
    const candidates =
      port.nodePort === undefined ? [...(remembered === undefined ? [] : [remembered]), port.port, 0] : [port.nodePort];
    let failure: unknown;
    for (const candidate of candidates) {
      const proxy = mode === 'http' ? httpProxy(context) : tcpProxy(context);
      try {
        const bound = await listen(proxy.server, config.host, candidate, key);
        proxy.server.on('error', (error) => logger.error(`service ${key}: ${error.message}`));
        return { mode, pool, proxy, port: bound };
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  #retire(key: string): void {
    const served = this.#served.get(key);
    if (!served) return;
    this.#served.delete(key);
    const closing = served.proxy.close(this.#options.config.drainMs).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    served.pool.close();
  }
}

function keyOf(spec: ServiceSpec, port: ServicePort): string {
  return `${spec.service}:${port.port}${port.protocol === 'udp' ? '/udp' : ''}`;
}

/** `appProtocol` decides; without it, a port named `web` or `http…` (but not `https` or `http2`) carries HTTP/1.1. */
export function modeOf({ appProtocol, name = '' }: Pick<ServicePort, 'appProtocol' | 'name'>): Mode {
  if (appProtocol !== undefined) return /^(http|kubernetes\.io\/ws)$/i.test(appProtocol) ? 'http' : 'tcp';
  return /^(web(-.*)?|http(?![s2]).*)$/i.test(name) ? 'http' : 'tcp';
}

function targetsOf({ targetPort }: ServicePort, endpoints: readonly Endpoint[]): Target[] {
  return endpoints.flatMap(({ instance, host, ports }) => {
    const port = ports[String(targetPort)] ?? (typeof targetPort === 'number' ? targetPort : undefined);
    return port === undefined ? [] : [{ instance, host, port }];
  });
}
