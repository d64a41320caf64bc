import { join } from 'node:path';
import { definePlugin } from '@cloudos/sdk';
import { ingressProxyConfig } from './config.ts';
import { PortBook } from './port-book.ts';
import { ProxyIngress } from './proxy-ingress.ts';

/** Service addresses on this machine, balanced in user space over the ready instances: no privileges needed. */
export default definePlugin({
  name: 'ingress-proxy',
  slot: 'ingress',
  apiVersion: 1,
  description: 'HTTP requests and TCP connections, balanced over the ready instances by a proxy in the kernel process',
  supports: { http: true, tcp: true, udp: false },
  config: ingressProxyConfig,
  create({ scope, logger, clock, dataDir }, config) {
    return scope.acquire(
      'ingress proxy',
      () => new ProxyIngress({ config, logger, clock, ports: new PortBook(join(dataDir, 'ports.json'), logger) }),
      (ingress) => ingress.close(),
    );
  },
});
