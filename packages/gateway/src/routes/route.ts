import type { Scope } from '@cloudos/client';
import type { ErrorCode } from '@cloudos/sdk';
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { z } from 'zod';
import type { Principal } from '../access/principal.ts';

export type GatewayEnv = { Bindings: HttpBindings; Variables: { principal: Principal } };

/** What a route answers with, by media type: a schema, or undefined for bytes and text of no schema. */
export type AnswerContent = Readonly<Record<string, z.ZodType | undefined>>;

/** A request whose query and body have been checked. */
export interface Call<Query, Body> {
  readonly principal: Principal;
  readonly query: Query;
  readonly body: Body;
  param(name: string): string;
  /** For headers, and for the connection itself. */
  readonly context: Context<GatewayEnv>;
}

interface Declared {
  /** `operationId` of the OpenAPI document. */
  readonly id: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** `/v1/instances/{id}/stats`. A last parameter marked `{name*}` takes the rest of the path. */
  readonly path: string;
  readonly summary: string;
  /** What the token must hold. `any`: a token will do. */
  readonly scope: Scope | 'any';
  /** Where the scope follows from the request; the route then asserts it itself, and `scope` is `any`. */
  readonly scopes?: readonly Scope[];
  /** What each parameter of the path is. */
  readonly params?: Readonly<Record<string, string>>;
  readonly answer: { readonly description: string; readonly status?: 200 | 201; readonly content: AnswerContent };
  /** Codes that this route answers with, beside those that every one may. */
  readonly errors?: readonly ErrorCode[];
}

export interface RouteDefinition<Query, Body> extends Declared {
  readonly query?: z.ZodType<Query>;
  /** Parameters of the query that may stand more than once. */
  readonly repeated?: readonly string[];
  readonly body?: z.ZodType<Body>;
  /** Of a body that does not match. Default REQUEST_MALFORMED. */
  readonly bodyCode?: 'REQUEST_MALFORMED' | 'COMMAND_INVALID';
  handle(call: Call<Query, Body>): Response | Promise<Response>;
}

/** A route of any query and body. */
export type Route = RouteDefinition<never, never>;

/** Declares a route: what it takes, what it answers, and how. The OpenAPI document is made from the same declaration. */
export function route<Query = undefined, Body = undefined>(definition: RouteDefinition<Query, Body>): Route {
  // The application hands every handler what its own schemas have parsed.
  return definition as unknown as Route;
}

/** Something that is served on an upgraded connection: described here, served by `Upgrades`. */
export interface SocketRoute extends Omit<Declared, 'answer' | 'method'> {
  readonly query: z.ZodType;
  readonly repeated?: readonly string[];
  readonly protocols: readonly [string, ...string[]];
}

/** `GET /v1/view?at=`, as it is named to whoever asks for another. */
export function signatureOf(each: Route | SocketRoute): string {
  const method = 'method' in each ? each.method : 'GET';
  const names = parameterNames(each.query);
  const query = names.length === 0 ? '' : `?${names.map((name) => `${name}=`).join('&')}`;
  return `${method} ${each.path.replaceAll(/\{(\w+)\*?\}/g, ':$1')}${query}${'protocols' in each ? ' (WebSocket)' : ''}`;
}

function parameterNames(query: z.ZodType | undefined): string[] {
  return Object.keys((query as { shape?: Record<string, unknown> } | undefined)?.shape ?? {});
}
