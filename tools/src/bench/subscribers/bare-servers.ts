import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { RawFile } from '../log-raw-file.ts';
import { messageBytes, type Publishing, type ServerTasks, serveTasks } from './tasks.ts';

const framesPerWrite = 64;

/**
 * A plain `ws` server that calls `send` for each client and event: what most people write. It makes events itself, and
 * passes on what comes from those who connect to `/publish`.
 */
export async function plainServer(): Promise<void> {
  const { url, sockets } = await listen((message) => {
    for (const [socket] of sockets) socket.send(message, { binary: false });
  });
  const text = 'x'.repeat(messageBytes);
  const tasks: ServerTasks = {
    where: async () => ({ url, token: '' }),
    publish: async ({ events, window }: Publishing, progress) => {
      for (let sent = 0; sent < events; sent++) {
        await progress.below(sent, window);
        for (const [socket] of sockets) socket.send(text);
        if (sent % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
  serveTasks(tasks);
}

/**
 * One that passes messages on for one who promises as much as the log does: a message is sent when it is on disk, where it was written with
 * all that had gathered while the write before it was being flushed.
 */
export async function durableServer(directory: string): Promise<void> {
  const file = new RawFile(join(directory, 'durable-ws'), durableBytes);
  const { url, sockets } = await listen((message) => {
    file.append('bench', { type: 'Sent', data: message.toString() }).then(() => {
      for (const [socket] of sockets) socket.send(message, { binary: false });
    });
  });
  serveTasks({ where: async () => ({ url, token: '' }) });
}

const durableBytes = 64 * 1024 * 1024;

/** Writes frames that are ready, many at a time: the most that one process can do with one message an event. */
export async function bareServer(): Promise<void> {
  const { url, sockets } = await listen();
  const header = Buffer.from([0x81, 126, messageBytes >> 8, messageBytes & 255]);
  const frame = Buffer.concat([header, Buffer.alloc(messageBytes, 'x')]);
  const tasks: ServerTasks = {
    where: async () => ({ url, token: '' }),
    publish: async ({ events, window }: Publishing, progress) => {
      for (let sent = 0; sent < events; sent += framesPerWrite) {
        await progress.below(sent, window);
        const bytes = Buffer.concat(Array.from({ length: Math.min(framesPerWrite, events - sent) }, () => frame));
        for (const [, connection] of sockets) connection.write(bytes);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
  serveTasks(tasks);
}

async function listen(published: (message: RawData) => void = () => {}) {
  const sockets = new Map<WebSocket, Duplex>();
  const http = createServer();
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  http.on('upgrade', (request, connection, head) => {
    server.handleUpgrade(request, connection, head, (socket) => {
      if (request.url === '/publish') return socket.on('message', published);
      sockets.set(socket, connection);
      socket.on('close', () => sockets.delete(socket));
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, sockets };
}
