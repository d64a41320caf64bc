import type { TokenInfo } from '@cloudos/client';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelProcess, readyInstances, until } from './support/kernel-process.ts';
import { deployment } from './support/manifests.ts';

interface Answer {
  readonly content: Readonly<Record<string, { readonly schema?: unknown }>>;
}
interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, Answer>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

/** What a running kernel answers is what its OpenAPI document says. */
describe('answers and their description', () => {
  const kernel = new KernelProcess({
    ...{ name: 'described', log: 'log-lmdb', resources: 'resources-borg', orchestrator: 'orchestrator-kubernetes' },
    nodes: [{ name: 'n', count: 2, host: 'host-simulated', guests: ['guest-simulated'] }],
  });
  let document: Document;
  let schemas: Ajv2020;
  const seen = new Set<string>();
  beforeAll(async () => {
    const client = await kernel.start();
    document = (await (await send('GET', '/v1/openapi.json')).json()) as Document;
    schemas = new Ajv2020({ strict: false, allErrors: true });
    formats.default(schemas);
    schemas.addSchema(document as object, 'openapi');
    await client.command({ slot: 'orchestrator', command: { type: 'Apply', text: deployment('web', 2) } });
    await readyInstances(client, 'web', 2);
  }, 120_000);
  afterAll(() => kernel.dispose(), 60_000);

  const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    fetch(`${kernel.endpoint()}${path}`, {
      method,
      headers: { authorization: `Bearer ${kernel.token()}`, ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });

  const schemaAt = (...path: readonly string[]): ValidateFunction | undefined => {
    const pointer = path.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).map(encodeURIComponent);
    return schemas.getSchema(`openapi#/${pointer.join('/')}`);
  };

  /** Sends a request and holds the answer against what the document says of that path, method, status and type. */
  const check = async (
    method: string,
    template: string,
    path: string,
    status: number,
    options: { body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<unknown[]> => {
    const response = await send(method, path, options.body, options.headers).catch((error: unknown) => {
      throw new Error(`${method} ${path}: the kernel said ${kernel.output.slice(-2_000)}`, { cause: error });
    });
    const text = await response.text();
    expect([method, path, response.status, text.slice(0, 500)]).toEqual([method, path, status, text.slice(0, 500)]);
    const operation = document.paths[template]?.[method.toLowerCase()];
    const type = (response.headers.get('content-type') ?? '').split(';')[0] ?? '';
    expect(Object.keys(operation?.responses[status]?.content ?? {})).toContain(type);
    seen.add(`${operation?.operationId} ${status < 400 ? 'answer' : 'error'}`);
    const values = type === 'application/x-ndjson' ? text.split('\n').filter(Boolean) : [text];
    const parsed = type.startsWith('application/octet') ? [] : values.map((value) => JSON.parse(value) as unknown);
    const at = ['paths', template, method.toLowerCase(), 'responses', String(status), 'content', type, 'schema'];
    const validate = operation?.responses[status]?.content[type]?.schema ? schemaAt(...at) : () => true;
    if (!validate) throw new Error(`no schema at ${at.join(' ')}`);
    for (const value of parsed) {
      const valid = validate(value);
      expect([template, valid, (validate as ValidateFunction).errors ?? []]).toEqual([template, true, []]);
    }
    return parsed;
  };

  it('agree for queries', async () => {
    await check('GET', '/v1/openapi.json', '/v1/openapi.json', 200);
    await check('GET', '/v1/asyncapi.json', '/v1/asyncapi.json', 200);
    await check('GET', '/v1/status', '/v1/status', 200);
    await check('GET', '/v1/plugins', '/v1/plugins', 200);
    await check('GET', '/v1/doctor', '/v1/doctor', 200);
    const [view] = (await check('GET', '/v1/view', '/v1/view', 200)) as [{ instances: { instance: string }[] }];
    await check('GET', '/v1/view', '/v1/view?at=3', 200);
    const instance = view.instances[0]?.instance ?? '';
    await check('GET', '/v1/why/{subject}', `/v1/why/${instance}`, 200);
    await check('GET', '/v1/why/{subject}', '/v1/why/default/web', 200);
    await check('GET', '/v1/events', '/v1/events?limit=1000', 200);
    const lines = await check('GET', '/v1/events', '/v1/events?from=0&to=5&markers=true', 200, {
      headers: { accept: 'application/x-ndjson' },
    });
    expect(lines.length).toBeGreaterThanOrEqual(6);
    await check('GET', '/v1/instances/{id}/stats', `/v1/instances/${instance}/stats`, 200);
    await check('GET', '/v1/instances/{id}/logs', `/v1/instances/${instance}/logs`, 200);
    await check('GET', '/v1/instances/{id}/logs', `/v1/instances/${instance}/logs?tail=1`, 200, {
      headers: { accept: 'application/x-ndjson' },
    });
  });

  it('agree for changes', async () => {
    const command = (slot: string, body: object) =>
      check('POST', '/v1/commands', '/v1/commands', 200, { body: { slot, command: body } });
    await command('orchestrator', { type: 'Scale', workload: 'default/web', replicas: 1 });
    await command('resources', { type: 'CordonNode', node: 'n-1' });
    await check('POST', '/v1/swap', '/v1/swap', 200, { body: { slot: 'resources', plugin: 'resources-spread' } });
    await check('POST', '/v1/shadows', '/v1/shadows', 201, { body: { plugin: 'resources-borg' } });
    await check('GET', '/v1/shadows', '/v1/shadows', 200);
    await check('DELETE', '/v1/shadows/{plugin}', '/v1/shadows/resources-borg', 200);
    const body = { name: 'reader', scopes: ['events:read'], events: { types: ['Guest*'] }, ttlMs: 60_000 };
    const [made] = (await check('POST', '/v1/tokens', '/v1/tokens', 201, { body })) as [TokenInfo];
    await check('GET', '/v1/tokens', '/v1/tokens', 200);
    await check('DELETE', '/v1/tokens/{token}', `/v1/tokens/${made.id}`, 200);
    await check('GET', '/v1/tokens', '/v1/tokens', 200);
    const client = kernel.client();
    const working = client.work('audit', () => {}, { from: 'start' });
    const ended = expect(working).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' });
    await until(async () => (await client.subscriptions()).length > 0);
    await check('GET', '/v1/subscriptions', '/v1/subscriptions', 200);
    await check('DELETE', '/v1/subscriptions/{name}', '/v1/subscriptions/audit', 200);
    await ended;
  });

  it('agree for refusals', async () => {
    const authorization = 'Bearer wrong';
    await check('GET', '/v1/status', '/v1/status', 401, { headers: { authorization } });
    await check('GET', '/v1/status', '/v1/status', 403, { headers: { origin: 'https://evil.example' } });
    await check('GET', '/v1/view', '/v1/view?at=99999', 400);
    await check('GET', '/v1/events', '/v1/events?limit=many', 400);
    await check('GET', '/v1/why/{subject}', '/v1/why/nothing', 404);
    await check('GET', '/v1/instances/{id}/stats', '/v1/instances/nothing/stats', 404);
    await check('GET', '/v1/instances/{id}/logs', '/v1/instances/nothing/logs', 404);
    await check('POST', '/v1/commands', '/v1/commands', 400, { body: '{"slot":' });
    await check('POST', '/v1/commands', '/v1/commands', 413, { body: 'x'.repeat(5 * 1024 * 1024) });
    const remove = { slot: 'orchestrator', command: { type: 'Remove', name: 'nothing' } };
    await check('POST', '/v1/commands', '/v1/commands', 404, { body: remove });
    await check('POST', '/v1/swap', '/v1/swap', 404, { body: { slot: 'resources', plugin: 'nothing' } });
    await check('POST', '/v1/tokens', '/v1/tokens', 400, { body: { name: 'a', scopes: [] } });
    await check('DELETE', '/v1/tokens/{token}', '/v1/tokens/nothing', 404);
    await check('DELETE', '/v1/subscriptions/{name}', '/v1/subscriptions/nothing', 404);
    await check('GET', '/v1/instances/{id}/logs', '/v1/instances/nothing/logs?since=soon', 400);
    const { token } = await kernel.client().createToken({ name: 'logs', scopes: ['guests:logs'] });
    await check('GET', '/v1/view', '/v1/view', 403, { headers: { authorization: `Bearer ${token}` } });
  });

  it('agree for the end, and no operation was left out', async () => {
    await check('POST', '/v1/down', '/v1/down', 200);
    const all = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    const answered = all.filter(({ responses }) => Object.keys(responses).some((status) => status.startsWith('2')));
    const missing = answered.map(({ operationId }) => operationId).filter((id) => !seen.has(`${id} answer`));
    // Ending one kernel excludes ending it the other way.
    expect(missing).toEqual(['stop']);
  });
});
