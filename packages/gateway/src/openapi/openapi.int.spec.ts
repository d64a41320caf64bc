import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApp } from '../routes/app.ts';
import { allRoutes } from '../routes/routes.ts';
import { socketRoutes } from '../routes/socket-routes.ts';
import { type Bench, openBench, until } from '../spec-kit.ts';

interface Operation {
  readonly operationId: string;
  readonly security: readonly { readonly bearer: readonly string[] }[];
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

describe('the OpenAPI document', () => {
  let bench: Bench;
  let document: Document;
  beforeAll(async () => {
    bench = await openBench();
    document = (await (await bench.get('/v1/openapi.json')).json()) as Document;
  });
  afterAll(() => bench.close());

  const operations = () =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    );
  const filled = (path: string) => path.replaceAll(/\{\w+\}/g, 'web-1');

  it('is valid against the schema of OpenAPI 3.1', async () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(await new Validator().validate(structuredClone(document) as never)).toMatchObject({ valid: true });
    expect(JSON.stringify(document)).not.toContain('$defs');
  });

  it('describes nothing that is not there', async () => {
    const sockets = new Set(Object.values(socketRoutes).map(({ path }) => path as string));
    for (const { path, method, operation } of operations()) {
      // Without a token: found out before anything is done.
      const refused = await fetch(`${bench.gateway.url}${filled(path)}`, { method });
      expect([path, method, refused.status]).toEqual([path, method, 401]);
      if (method === 'POST' || operation.operationId === 'revokeToken') continue;
      const response = await bench.get(filled(path), { method, headers: { accept: 'application/json' } });
      const { code } = (await response.json().catch(() => ({}))) as { code?: string };
      const onlySocket = sockets.has(path) && !('200' in operation.responses);
      expect([path, code === 'ROUTE_NOT_FOUND']).toEqual([path, onlySocket]);
    }
    for (const path of sockets) {
      const listener = bench.listen(filled(path));
      await until('the handshake succeeds', () => listener.wasOpen);
      listener.socket.close();
      expect(document.paths[path]?.get?.responses).toHaveProperty('101');
    }
  });

  it('describes everything that is there', () => {
    const context = { kernel: bench.kernel } as unknown as Parameters<typeof allRoutes>[0];
    const routes = allRoutes(context, {} as Parameters<typeof allRoutes>[1]);
    const app = buildApp({ routes, access: {}, bounds: { bodyMaxBytes: 1 } } as unknown as Parameters<
      typeof buildApp
    >[0]);
    const served = app.routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)(\{\.\+\})?/g, '{$1}')}`);
    const http = operations()
      .filter(({ operation }) => Object.keys(operation.responses).some((status) => status.startsWith('2')))
      .map(({ method, path }) => `${method} ${path}`);
    expect(http.sort()).toEqual(served.sort());
    expect(served.length).toBeGreaterThan(15);
  });

  it('tells the scope, the parameters and the codes of an operation', () => {
    const { get: view } = document.paths['/v1/view'] ?? {};
    expect(view?.security).toEqual([{ bearer: ['state:read'] }]);
    expect(view?.parameters).toMatchObject([{ name: 'at', in: 'query', schema: { type: 'integer', minimum: 0 } }]);
    expect(view?.responses['400']?.description).toContain('POSITION_OUT_OF_RANGE');
    expect(view?.responses['403']?.description).toContain('SCOPE_MISSING');
    expect(document.paths['/v1/commands']?.post?.security).toEqual([
      { bearer: ['orchestrator:command'] },
      { bearer: ['resources:command'] },
    ]);
    const names = document.paths['/v1/events']?.get?.parameters.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['from', 'to', 'types', 'streams', 'workload', 'layer', 'limit']));
  });
});
