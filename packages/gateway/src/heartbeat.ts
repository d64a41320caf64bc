import { WebSocket } from 'ws';

const unansweredMax = 3;

/**
 * Pings a socket now and then and ends it when its peer is gone. A slow peer is not gone: as long as bytes wait for
 * it no ping is counted against it, and TCP itself notices a dead one.
 */
export function keepAlive(socket: WebSocket, heartbeatMs: number): void {
  let unanswered = 0;
  socket.on('pong', () => {
    unanswered = 0;
  });
  const timer = setInterval(() => {
    if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > 0) return;
    if (unanswered >= unansweredMax) return socket.terminate();
    unanswered++;
    socket.ping();
  }, heartbeatMs);
  timer.unref();
  socket.on('close', () => clearInterval(timer));
}
