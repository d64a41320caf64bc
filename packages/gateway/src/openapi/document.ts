import { type ErrorCode, errorCodes } from '@cloudos/sdk';
import { z } from 'zod';
import { httpStatusOf } from '../error-response.ts';
import type { Route, SocketRoute } from '../routes/route.ts';
import { errorBody } from '../routes/shapes.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

const json = 'application/json';
/** What every route may answer. */
const commonErrors: readonly ErrorCode[] = [
  'REQUEST_MALFORMED',
  'UNAUTHENTICATED',
  'TOKEN_EXPIRED',
  'TOKEN_REVOKED',
  'ORIGIN_FORBIDDEN',
  'SCOPE_MISSING',
  'RATE_LIMITED',
  'CONNECTIONS_EXCEEDED',
  'INTERNAL',
];

/** The OpenAPI 3.1 document of the routes, made from their own schemas. Source: spec.openapis.org/oas/v3.1.1 */
export function openApiDocument(
  routes: readonly Route[],
  sockets: readonly SocketRoute[],
  version: string,
): JsonObject {
  const paths: Record<string, Record<string, JsonObject>> = {};
  const schemas: Record<string, JsonObject> = { Error: schemaOf(errorBody, 'output') };
  for (const each of routes) {
    const path = pathOf(each);
    paths[path] = { ...paths[path], [each.method.toLowerCase()]: operation(each, schemas) };
  }
  for (const each of sockets) {
    const path = pathOf(each);
    const shared = paths[path]?.get as { responses?: JsonObject } | undefined;
    const get = shared ?? socketOperation(each);
    paths[path] = { ...paths[path], get: { ...get, responses: { ...get.responses, ...switching(each) } } };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'cloudos',
      version,
      summary: 'The HTTP side of a cloudos kernel.',
      description: 'WebSocket messages are described by the AsyncAPI document at `/v1/asyncapi.json`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    // Wherever the document was fetched from.
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            'A token of `cloudos token create`. The roles of an operation are the scopes that it needs, `admin` holds all. In a WebSocket handshake of a browser: the subprotocol entry `cloudos.bearer.<token>`.',
        },
      },
      schemas,
    },
  };
}

function operation(each: Route, schemas: Record<string, JsonObject>): JsonObject {
  const { id, summary, answer, body } = each;
  const name = `${id[0]?.toUpperCase()}${id.slice(1)}`;
  const content: Record<string, JsonObject> = {};
  for (const [type, schema] of Object.entries(answer.content)) {
    // Of lines, what one of them is.
    const of = type === json ? `${name}Answer` : `${name}Line`;
    if (schema) schemas[of] = schemaOf(schema, 'output');
    content[type] = schema ? { schema: reference(of) } : {};
  }
  if (body) schemas[`${name}Request`] = schemaOf(body, 'input');
  return {
    operationId: id,
    summary,
    security: securityOf(each),
    parameters: parametersOf(each),
    ...(body && { requestBody: { required: true, content: { [json]: { schema: reference(`${name}Request`) } } } }),
    responses: {
      [answer.status ?? 200]: { description: answer.description, content },
      ...errorsOf([...(each.errors ?? []), ...(body ? (['REQUEST_TOO_LARGE'] as const) : [])]),
    },
  };
}

function socketOperation(each: SocketRoute): JsonObject & { responses: JsonObject } {
  return {
    operationId: each.id,
    summary: each.summary,
    security: securityOf(each),
    parameters: parametersOf(each),
    responses: errorsOf(each.errors ?? []),
  };
}

function switching({ protocols }: SocketRoute): JsonObject {
  const spoken = protocols.map((protocol) => `\`${protocol}\``).join(', ');
  return {
    101: { description: `With \`Upgrade: websocket\`: the connection is a WebSocket. Subprotocols: ${spoken}.` },
    ...errorsOf(['SUBPROTOCOL_UNSUPPORTED', 'GATEWAY_OVERLOADED']),
  };
}

/** Several entries are alternatives: any one of the scopes. */
function securityOf({ scope, scopes }: Route | SocketRoute): readonly JsonObject[] {
  if (scopes) return scopes.map((each) => ({ bearer: [each] }));
  return [{ bearer: scope === 'any' ? [] : [scope] }];
}

function parametersOf({ path, params, query }: Route | SocketRoute): readonly JsonObject[] {
  const inPath = [...path.matchAll(/\{(\w+)\*?\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    description: params?.[name] ?? '',
    schema: { type: 'string' },
  }));
  if (!query) return inPath;
  const { properties = {}, required = [] } = schemaOf(query, 'input') as {
    properties?: Record<string, JsonObject>;
    required?: readonly string[];
  };
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    ...(required.includes(name) && { required: true }),
    schema,
  }));
  return [...inPath, ...inQuery];
}

/** One response for each status, with the codes that it can carry. */
function errorsOf(codes: readonly ErrorCode[]): JsonObject {
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const code of [...commonErrors, ...codes]) {
    const status = httpStatusOf(code);
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(code));
  }
  const retryAfter = { description: 'Seconds.', schema: { type: 'integer', minimum: 0 } };
  const known = [...byStatus].map(([status, all]) => [
    status,
    {
      description: [...all].map((code) => `\`${code}\`: ${errorCodes[code][0]}`).join('\n\n'),
      ...(status === 429 && { headers: { 'Retry-After': retryAfter } }),
      content: { [json]: { schema: reference('Error') } },
    },
  ]);
  const others = { description: 'Any other code.', content: { [json]: { schema: reference('Error') } } };
  return { ...Object.fromEntries(known), default: others };
}

function reference(name: string): JsonObject {
  return { $ref: `#/components/schemas/${name}` };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}

function pathOf({ path }: Route | SocketRoute): string {
  return path.replaceAll('*}', '}');
}
