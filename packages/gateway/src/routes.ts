import { type EventsPage, type Scope, toCloudEvent } from '@cloudos/client';
import type { CommandOptions, Kernel } from '@cloudos/kernel';
import { CloudosError, type Filter, type Logger, type SwapRequest } from '@cloudos/sdk';
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import type { Access } from './access/access.ts';
import { assertScope, type Principal, readable } from './access/principal.ts';
import { openSession } from './access/session.ts';
import type { GatewayBounds } from './bounds.ts';
import { errorBodyOf, errorResponse } from './error-response.ts';
import {
  commandBody,
  type EventsPageQuery,
  eventsQuery,
  filterOf,
  logsQuery,
  parsed,
  queryOf,
  swapBody,
  viewQuery,
} from './queries.ts';
import { downResponse, logsResponse, ndjson } from './streams.ts';

/** Every route, as it is named to whoever asks for another. */
export const routeList: readonly string[] = [
  'GET /v1/status',
  'GET /v1/view?at=',
  'GET /v1/plugins',
  'GET /v1/events?from=&to=&limit=&direction=&types=&streams=',
  'GET /v1/events?from=<position|now|start>&types=&streams= (WebSocket)',
  'POST /v1/commands',
  'POST /v1/swap',
  'GET /v1/why/:subject',
  'GET /v1/doctor',
  'GET /v1/instances/:id/logs?follow=&tail=',
  'GET /v1/instances/:id/stats',
  'GET /v1/instances/:id/exec?command=&tty=&columns=&rows=&env=&workingDir= (WebSocket)',
  'POST /v1/stop',
  'POST /v1/down',
];

export function routeNotFound(method: string, path: string): CloudosError {
  return new CloudosError('ROUTE_NOT_FOUND', `there is no ${method} ${path}; routes: ${routeList.join(', ')}`, {
    details: { routes: routeList },
  });
}

export interface RouteContext {
  readonly kernel: Kernel;
  readonly access: Access;
  readonly bounds: GatewayBounds;
  readonly logger: Logger;
  /** Takes everything down, or stops the kernel, and lets the process know afterwards. */
  down(onProgress: (text: string) => void): Promise<void>;
  stop(): Promise<void>;
}

type GatewayApp = Hono<{ Bindings: HttpBindings; Variables: { principal: Principal } }>;

/** The HTTP side of the gateway. */
export function buildRoutes(context: RouteContext): GatewayApp {
  const app: GatewayApp = new Hono();
  app.onError((error) => {
    if (errorBodyOf(error).code === 'INTERNAL') {
      context.logger.error('a request failed with a defect', { error: error.message, stack: error.stack ?? '' });
    }
    return errorResponse(error);
  });
  app.notFound((c) => errorResponse(routeNotFound(c.req.method, c.req.path)));
  guard(app, context);
  queries(app, context.kernel);
  instances(app, context.kernel);
  changes(app, context);
  return app;
}

function guard(app: GatewayApp, { access, bounds }: RouteContext): void {
  app.use(async (c, next) => {
    const origin = c.req.header('origin');
    const crossOrigin = origin !== undefined && access.origins.allows(origin);
    if (c.req.method === 'OPTIONS' && crossOrigin) return c.body(null, 204, preflightHeaders(origin));
    const { incoming, outgoing } = c.env;
    const address = incoming.socket.remoteAddress ?? '';
    const principal = access.authenticate({ address, origin, authorization: c.req.header('authorization') });
    // Held for as long as the answer goes on: one that follows a log ends with the token.
    const session = openSession(access, principal, () => outgoing.destroy());
    outgoing.once('close', session.release);
    c.set('principal', principal);
    await next();
    if (crossOrigin) for (const [name, value] of Object.entries(corsHeaders(origin))) c.res.headers.set(name, value);
    return undefined;
  });
  app.use(
    bodyLimit({
      maxSize: bounds.bodyMaxBytes,
      onError: () =>
        errorResponse(
          new CloudosError('REQUEST_TOO_LARGE', `the body is larger than the ${bounds.bodyMaxBytes} bytes allowed`, {
            details: { bodyMaxBytes: bounds.bodyMaxBytes },
          }),
        ),
    }),
  );
}

function corsHeaders(origin: string): Record<string, string> {
  return { 'access-control-allow-origin': origin, vary: 'Origin' };
}

function preflightHeaders(origin: string): Record<string, string> {
  return {
    ...corsHeaders(origin),
    'access-control-allow-methods': 'GET, POST',
    'access-control-allow-headers': 'authorization, content-type, traceparent',
    'access-control-max-age': '600',
  };
}

/** Lets only principals with that scope through to a route. */
function needs(scope: Scope) {
  return createMiddleware<{ Bindings: HttpBindings; Variables: { principal: Principal } }>(async (c, next) => {
    assertScope(c.get('principal'), scope);
    await next();
  });
}

function queries(app: GatewayApp, kernel: Kernel): void {
  const reads = needs('state:read');
  app.get('/v1/status', (c) => c.json(kernel.status()));
  app.get('/v1/plugins', reads, (c) => c.json(kernel.plugins()));
  app.get('/v1/doctor', reads, async (c) => c.json(await kernel.doctor()));
  app.get('/v1/view', reads, async (c) => c.json(await kernel.view(parsed(viewQuery, c.req.query()).at)));
  app.get('/v1/why/:subject{.+}', reads, async (c) => c.json(await kernel.why(c.req.param('subject'))));
  app.get('/v1/events', async (c) => {
    const query = parsed(eventsQuery, c.req.query());
    return c.json(await eventsPage(kernel, query, readable(c.get('principal'), filterOf(query))));
  });
}

/** Reads one event more than the page holds, to know whether another page follows. */
async function eventsPage(kernel: Kernel, query: EventsPageQuery, filter: Filter): Promise<EventsPage> {
  const { log } = kernel;
  const { stack } = kernel.status();
  const head = log.head();
  const events: EventsPage['events'][number][] = [];
  const batches = log.read({
    direction: query.direction,
    limit: query.limit + 1,
    ...(query.from === undefined ? {} : { from: query.from }),
    ...(query.to === undefined ? {} : { to: query.to }),
    filter,
  });
  for await (const batch of batches) for (const event of batch) events.push(toCloudEvent(event, stack));
  const following = events.length > query.limit ? events.pop() : undefined;
  return { events, head, ...(following === undefined ? {} : { next: following.position }) };
}

function instances(app: GatewayApp, kernel: Kernel): void {
  app.get('/v1/instances/:id/stats', needs('state:read'), async (c) => c.json(await kernel.stats(c.req.param('id'))));
  app.get('/v1/instances/:id/logs', needs('guests:logs'), (c) => {
    const query = parsed(logsQuery, queryOf(new URL(c.req.url).searchParams));
    const form = c.req.header('accept')?.includes(ndjson) ? 'lines' : 'bytes';
    // A client that has half-closed its connection would otherwise keep ours open.
    return logsResponse(kernel, c.req.param('id'), query, form, () => c.env.outgoing.destroy());
  });
}

function changes(app: GatewayApp, context: RouteContext): void {
  const { kernel } = context;
  app.post('/v1/commands', async (c) => {
    const { id, ...command } = parsed(commandBody, await jsonBody(c), 'COMMAND_INVALID');
    assertScope(c.get('principal'), `${command.slot}:command`);
    const traceparent = c.req.header('traceparent');
    const options: CommandOptions = {
      ...(id === undefined ? {} : { id }),
      ...(traceparent === undefined ? {} : { traceparent }),
    };
    return c.json(await kernel.command(command, options));
  });
  app.post('/v1/swap', needs('admin'), async (c) => {
    const request = parsed(swapBody, await jsonBody(c));
    return c.json(await kernel.swap(request as SwapRequest));
  });
  app.post('/v1/stop', needs('admin'), async (c) => {
    await context.stop();
    return c.json({ stopped: true });
  });
  app.post('/v1/down', needs('admin'), () => downResponse(context.down));
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
