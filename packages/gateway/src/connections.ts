import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Quota } from './limits/quota.ts';

/**
 * Closes an HTTP server: connections without a request at once (also those that never had one, which
 * `closeIdleConnections` passes over), the others after their answer, at the latest when the grace is over.
 */
export class Connections {
  readonly #server: Server;
  /** Requests under way on each open connection. WebSockets are not counted: they are closed by their own side. */
  readonly #requests = new Map<Socket, number>();
  #closing = false;

  /** @param perAddressMax TCP connections that one address may have open; beyond, they are closed on arrival */
  constructor(server: Server, perAddressMax: number) {
    this.#server = server;
    const addresses = new Quota(perAddressMax);
    server.on('connection', (socket: Socket) => {
      const release = addresses.take(socket.remoteAddress ?? '');
      if (!release) return void socket.destroy();
      this.#requests.set(socket, 0);
      socket.on('close', () => {
        release();
        this.#requests.delete(socket);
      });
    });
    server.on('upgrade', (_request, socket) => this.#requests.delete(socket as Socket));
    server.on('request', ({ socket }, response) => {
      this.#requests.set(socket, (this.#requests.get(socket) ?? 0) + 1);
      response.on('close', () => {
        const left = (this.#requests.get(socket) ?? 1) - 1;
        if (this.#requests.has(socket)) this.#requests.set(socket, left);
        if (this.#closing && left <= 0) socket.destroySoon();
      });
    });
  }

  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const [socket, requests] of this.#requests) if (requests === 0) socket.destroy();
    const late = setTimeout(() => {
      for (const socket of this.#requests.keys()) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(late);
  }
}
