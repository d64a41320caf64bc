import { isIP } from 'node:net';

/** Whether only processes of this machine reach what listens there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Whether it stands for every address of the machine. */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::' || host === '';
}

/** The address to give to clients of this machine. */
export function urlOf(scheme: 'http' | 'https', host: string, port: number): string {
  const reachable = isWildcard(host) ? (host === '::' ? '::1' : '127.0.0.1') : host;
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
