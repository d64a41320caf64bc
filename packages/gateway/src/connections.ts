import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { Quota } from './limits/quota.ts';

/**
 * Closes an HTTP server: connections without a request at once (also those that never had one, which
 * `closeIdleConnections` passes over), the others after their answer, at the latest when the grace is over.
 */
export class Connections {
  readonly #server: Server;
  /** Open connections by {@link peerOf}. WebSockets are not among them: they are closed by their own side. */
  readonly #open = new Map<string, { readonly socket: Socket; requests: number }>();
  #closing = false;

  /** @param perAddressMax TCP connections that one address may have open; beyond, they are closed on arrival */
  constructor(server: Server, perAddressMax: number) {
    this.#server = server;
    const addresses = new Quota(perAddressMax);
    server.on('connection', (socket: Socket) => {
      const release = addresses.take(socket.remoteAddress ?? '');
      if (!release) return void socket.destroy();
      const peer = peerOf(socket);
      this.#open.set(peer, { socket, requests: 0 });
      socket.on('close', () => {
        release();
        this.#open.delete(peer);
      });
    });
    server.on('upgrade', (_request, socket) => this.#open.delete(peerOf(socket as Socket)));
    server.on('request', ({ socket }, response) => {
      const connection = this.#open.get(peerOf(socket));
      if (!connection) return;
      connection.requests++;
      response.on('close', () => {
        connection.requests--;
        if (this.#closing && connection.requests <= 0) socket.destroySoon();
      });
    });
  }

  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const { socket, requests } of this.#open.values()) if (requests === 0) socket.destroy();
    const late = setTimeout(() => {
      for (const { socket } of this.#open.values()) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(late);
  }
}

/** Names a connection. Over TLS a request has another socket object than the connection that it came on. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
