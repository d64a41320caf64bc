import { type Route, route, type SocketRoute } from '../routes/route.ts';
import { openApiDocument } from './document.ts';

/** The description of the routes, itself among them. */
export function withOpenApi(routes: readonly Route[], sockets: readonly SocketRoute[], version: string): Route[] {
  let text: string | undefined;
  const own: Route = route({
    id: 'getOpenApi',
    method: 'GET',
    path: '/v1/openapi.json',
    summary: 'This document.',
    scope: 'any',
    answer: { description: 'OpenAPI 3.1.', content: { 'application/json': undefined } },
    handle: (): Response => {
      text ??= JSON.stringify(openApiDocument([...routes, own], sockets, version));
      return new Response(text, { headers: { 'content-type': 'application/json' } });
    },
  });
  return [...routes, own];
}
