import { type IncomingMessage, type ServerResponse, request as send } from 'node:http';
import { messageOf } from '@cloudos/sdk';
import type { Backend } from './endpoint-pool.ts';
import { forwarded, hasBody } from './http-headers.ts';
import type { ProxyContext } from './listener.ts';

/** What became of sending a request to one endpoint. */
export type Attempt =
  | { readonly kind: 'answered'; readonly answer: IncomingMessage }
  /** The connection failed: the endpoint never saw the request. */
  | { readonly kind: 'not-sent'; readonly reason: string }
  /** A kept connection was closed under the request. */
  | { readonly kind: 'stale'; readonly reason: string }
  /** The connection broke after the request went out: the endpoint may have handled it. */
  | { readonly kind: 'broken'; readonly reason: string }
  /** No answer in time. */
  | { readonly kind: 'late'; readonly reason: string }
  /** The client went away. */
  | { readonly kind: 'aborted'; readonly reason: string };

export interface AttemptOptions {
  /** Over a new connection instead of a kept one. */
  readonly fresh: boolean;
  readonly context: ProxyContext;
}

/**
 * Sends a request to an endpoint. The body is not touched before the connection stands, so that after `not-sent` it
 * can go to another endpoint as it is.
 */
export function attempt(
  request: IncomingMessage,
  response: ServerResponse,
  backend: Backend,
  { fresh, context: { config, clock } }: AttemptOptions,
): Promise<Attempt> {
  return new Promise((resolve) => {
    const outgoing = send({
      host: backend.host,
      port: backend.port,
      method: request.method,
      path: request.url,
      headers: forwarded(request),
      agent: fresh ? false : backend.agent,
    });
    let connected = false;
    let settled = false;
    const settle = (result: Attempt) => {
      if (settled) return;
      settled = true;
      cancelTimer();
      response.off('close', onClientGone);
      if (result.kind === 'answered') {
        response.once('close', () => {
          if (!result.answer.complete) outgoing.destroy();
        });
      } else {
        request.unpipe(outgoing);
        outgoing.destroy();
      }
      resolve(result);
    };
    const where = `${backend.instance} at ${backend.host}:${backend.port}`;
    const onClientGone = () => settle({ kind: 'aborted', reason: 'the client went away' });
    let cancelTimer = clock.after(config.connectTimeoutMs, () =>
      settle({ kind: 'not-sent', reason: `no connection to ${where} within ${config.connectTimeoutMs} ms` }),
    );
    const onConnected = () => {
      connected = true;
      cancelTimer();
      if (settled) return;
      cancelTimer = clock.after(config.responseTimeoutMs, () =>
        settle({ kind: 'late', reason: `no answer of ${where} within ${config.responseTimeoutMs} ms` }),
      );
      if (hasBody(request)) request.pipe(outgoing);
      else outgoing.end();
    };
    response.once('close', onClientGone);
    outgoing.setNoDelay(true);
    outgoing.once('socket', (socket) => {
      if (socket.connecting) socket.once('connect', onConnected);
      else onConnected();
    });
    outgoing.once('response', (answer) => settle({ kind: 'answered', answer }));
    outgoing.on('error', (error) => {
      const reason = `${where}: ${messageOf(error)}`;
      if (!connected) settle({ kind: 'not-sent', reason });
      else settle({ kind: outgoing.reusedSocket ? 'stale' : 'broken', reason });
    });
  });
}
