import { type IncomingMessage, request as send } from 'node:http';
import type { Socket } from 'node:net';
import type { Backend } from './endpoint-pool.ts';
import { forwarded } from './http-headers.ts';
import type { ProxyContext } from './listener.ts';
import { join } from './tcp-proxy.ts';

/** Passes on a request to upgrade (WebSocket) and, once the endpoint has agreed, bytes both ways. */
export async function upgrade(
  request: IncomingMessage,
  client: Socket,
  head: Buffer,
  context: ProxyContext,
): Promise<void> {
  const { pool, config, label } = context;
  await pool.available(config.endpointWaitMs);
  const tried = new Set<Backend>();
  for (let backend = pool.pick(tried); backend && !client.destroyed; backend = pool.pick(tried)) {
    tried.add(backend);
    if (await offer(request, client, head, backend, context)) return;
    pool.failed(backend);
  }
  const body = `${label}: no ready instance\n`;
  client.end(
    `HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** True when the endpoint answered, whatever it answered; false when it could not be reached. */
function offer(
  request: IncomingMessage,
  client: Socket,
  head: Buffer,
  backend: Backend,
  { config, clock }: ProxyContext,
): Promise<boolean> {
  return new Promise((resolve) => {
    const outgoing = send({
      host: backend.host,
      port: backend.port,
      method: request.method,
      path: request.url,
      headers: { ...forwarded(request), connection: 'Upgrade', upgrade: request.headers.upgrade ?? '' },
      agent: false,
    });
    let connected = false;
    const end = (answered: boolean) => {
      cancel();
      client.off('close', onClientGone);
      resolve(answered);
    };
    const onClientGone = () => {
      outgoing.destroy();
      end(true);
    };
    let cancel = clock.after(config.connectTimeoutMs, () => outgoing.destroy(new Error('connection timeout')));
    client.once('close', onClientGone);
    outgoing.once('socket', (socket) =>
      socket.once('connect', () => {
        connected = true;
        cancel();
        cancel = clock.after(config.responseTimeoutMs, () => outgoing.destroy(new Error('response timeout')));
      }),
    );
    outgoing.once('upgrade', (answer, upstream: Socket, upstreamHead: Buffer) => {
      end(true);
      client.write(headOf(answer));
      if (upstreamHead.length > 0) client.write(upstreamHead);
      if (head.length > 0) upstream.write(head);
      join(client, upstream, config.idleTimeoutMs);
    });
    outgoing.once('response', (answer) => {
      end(true);
      client.write(headOf(answer));
      answer.on('error', () => client.destroy());
      answer.pipe(client);
    });
    outgoing.on('error', () => {
      if (connected) client.destroy();
      end(connected);
    });
    outgoing.end();
  });
}

/** The head of an answer as it came; a refused upgrade ends with the connection. */
function headOf(answer: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`];
  const refused = answer.statusCode !== 101;
  for (let index = 0; index + 1 < answer.rawHeaders.length; index += 2) {
    const name = answer.rawHeaders[index] ?? '';
    // The body of a refusal arrives decoded, and the connection is closed after it.
    if (refused && /^(connection|keep-alive|transfer-encoding)$/i.test(name)) continue;
    lines.push(`${name}: ${answer.rawHeaders[index + 1]}`);
  }
  if (refused) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n`;
}
