import { CloudosError, type Logger } from '@cloudos/sdk';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { Access } from '../access/access.ts';
import { assertScope } from '../access/principal.ts';
import { openSession } from '../access/session.ts';
import type { GatewayBounds } from '../bounds.ts';
import { errorBodyOf, errorResponse } from '../error-response.ts';
import { parsed, queryOf } from '../queries.ts';
import { corsHeaders, preflightHeaders } from './cors.ts';
import { type GatewayEnv, type Route, signatureOf } from './route.ts';
import { socketRoutes } from './socket-routes.ts';

export interface AppContext {
  readonly access: Access;
  readonly bounds: GatewayBounds;
  readonly logger: Logger;
  readonly routes: readonly Route[];
}

/** The HTTP side of the gateway: the routes behind authentication, scopes and limits. */
export function buildApp({ access, bounds, logger, routes }: AppContext): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>();
  app.onError((error, c) => {
    // A client that leaves within its body, wherever that is read.
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET' && c.env.incoming.destroyed) {
      return errorResponse(new CloudosError('REQUEST_MALFORMED', 'the connection ended before the body did'));
    }
    if (errorBodyOf(error).code === 'INTERNAL') {
      logger.error('a request failed with a defect', { error: error.message, stack: error.stack ?? '' });
    }
    return errorResponse(error);
  });
  app.notFound((c) => errorResponse(routeNotFound(routes, c.req.method, c.req.path)));
  guard(app, access, bounds);
  for (const each of routes) app.on(each.method, honoPath(each.path), (c) => answer(each, c));
  return app;
}

export function routeNotFound(routes: readonly Route[], method: string, path: string): CloudosError {
  const list = [...routes, ...Object.values(socketRoutes)].map(signatureOf);
  return new CloudosError('ROUTE_NOT_FOUND', `there is no ${method} ${path}; routes: ${list.join(', ')}`, {
    details: { routes: list },
  });
}

function guard(app: Hono<GatewayEnv>, access: Access, bounds: GatewayBounds): void {
  app.use(async (c, next) => {
    // The header Host is half of it, and what reads a request makes a URL of both.
    if (!URL.canParse(c.req.url)) {
      throw new CloudosError('REQUEST_MALFORMED', `no URL: ${c.req.url.slice(0, 300)}; expected a host and a path`);
    }
    const origin = c.req.header('origin');
    const crossOrigin = origin !== undefined && access.origins.allows(origin);
    if (c.req.method === 'OPTIONS' && crossOrigin) return c.body(null, 204, preflightHeaders(origin));
    const { incoming, outgoing } = c.env;
    const address = incoming.socket.remoteAddress ?? '';
    const principal = access.authenticate({ address, origin, authorization: c.req.header('authorization') });
    // Held for as long as the answer goes on: one that follows a log ends with the token.
    const session = openSession(access, principal, address, () => outgoing.destroy());
    outgoing.once('close', session.release);
    c.set('principal', principal);
    await next();
    if (crossOrigin) for (const [name, value] of Object.entries(corsHeaders(origin))) c.res.headers.set(name, value);
    return undefined;
  });
  const tooLarge = () =>
    errorResponse(
      new CloudosError('REQUEST_TOO_LARGE', `the body is larger than the ${bounds.bodyMaxBytes} bytes allowed`, {
        details: { bodyMaxBytes: bounds.bodyMaxBytes },
      }),
    );
  app.use(bodyLimit({ maxSize: bounds.bodyMaxBytes, onError: tooLarge }));
}

async function answer(each: Route, c: Context<GatewayEnv>): Promise<Response> {
  const principal = c.get('principal');
  if (each.scope !== 'any') assertScope(principal, each.scope);
  const query = each.query && parsed(each.query, queryOf(new URL(c.req.url).searchParams, each.repeated));
  const body = each.body && parsed(each.body, await jsonBody(c), each.bodyCode);
  return each.handle({
    principal,
    query: query as never,
    body: body as never,
    param: (name) => c.req.param(name) ?? '',
    context: c,
  });
}

function honoPath(path: string): string {
  return path.replaceAll(/\{(\w+)(\*?)\}/g, (_all, name: string, rest: string) => `:${name}${rest && '{.+}'}`);
}

async function jsonBody(c: Context): Promise<unknown> {
  const text = await c.req.text();
  try {
    return JSON.parse(text);
  } catch (error) {
    const given = text.length > 60 ? `${text.slice(0, 57)}...` : text;
    throw new CloudosError(
      'REQUEST_MALFORMED',
      `the body is not JSON: ${(error as Error).message}; given ${JSON.stringify(given)}`,
      { remedy: 'Send one JSON object with Content-Type: application/json.' },
    );
  }
}
