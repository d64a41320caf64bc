import { CloudosClient, type Scope, scopes, type TokenRequest, type WebSocketConstructor } from '@cloudos/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { allRoutes } from '../routes/routes.ts';
import { type Bench, Listener, openBench, until } from '../spec-kit.ts';
import { FakeKernel } from '../testing/index.ts';

const scale = { type: 'Scale', workload: 'web', replicas: 1 };
const cordon = { type: 'CordonNode', node: 'n1' };

/** Every route, a request to it, and the scopes that let it through besides `admin`. */
const calls: readonly [id: string, allowed: readonly Scope[], method: string, path: string, body?: unknown][] = [
  ['listSubscriptions', ['events:read'], 'GET', '/v1/subscriptions'],
  ['deleteSubscription', ['events:read'], 'DELETE', '/v1/subscriptions/none'],
  ['getStatus', scopes, 'GET', '/v1/status'],
  ['getAsyncApi', scopes, 'GET', '/v1/asyncapi.json'],
  ['getOpenApi', scopes, 'GET', '/v1/openapi.json'],
  ['getView', ['state:read'], 'GET', '/v1/view'],
  ['listPlugins', ['state:read'], 'GET', '/v1/plugins'],
  ['explain', ['state:read'], 'GET', '/v1/why/default/web'],
  ['getDoctorReport', ['state:read'], 'GET', '/v1/doctor'],
  ['getStats', ['state:read'], 'GET', '/v1/instances/web-1/stats'],
  ['readEvents', ['events:read'], 'GET', '/v1/events?from=0&to=0'],
  ['readLogs', ['guests:logs'], 'GET', '/v1/instances/web-1/logs'],
  ['sendCommand', ['orchestrator:command'], 'POST', '/v1/commands', { slot: 'orchestrator', command: scale }],
  ['sendCommand', ['resources:command'], 'POST', '/v1/commands', { slot: 'resources', command: cordon }],
  ['swap', [], 'POST', '/v1/swap', { slot: 'resources', plugin: 'x' }],
  ['startShadow', [], 'POST', '/v1/shadows', { plugin: 'resources-fake' }],
  ['listShadows', ['state:read'], 'GET', '/v1/shadows'],
  ['endShadow', [], 'DELETE', '/v1/shadows/resources-fake'],
  ['createToken', [], 'POST', '/v1/tokens', { name: 'made', scopes: ['admin'] }],
  ['listTokens', [], 'GET', '/v1/tokens'],
  ['revokeToken', [], 'DELETE', '/v1/tokens/made'],
  ['stop', [], 'POST', '/v1/stop'],
  ['down', [], 'POST', '/v1/down'],
];

/** Over WebSocket: an exec asks for a command that does not exist, which is found out behind the handshake. */
const sockets: readonly [allowed: Scope, path: string][] = [
  ['events:read', '/v1/events'],
  ['guests:exec', '/v1/instances/web-1/exec?command=missing'],
];

describe('what each scope lets through', () => {
  let bench: Bench;
  const tokens = new Map<Scope, string>();
  beforeAll(async () => {
    bench = await openBench();
    bench.kernel.output.set('web-1', []);
    bench.kernel.events.record({ stream: 'kernel', type: 'StackAssembled' });
    for (const scope of scopes) {
      tokens.set(scope, (await bench.client.createToken({ name: scope.replace(':', '-'), scopes: [scope] })).token);
    }
  });
  afterAll(() => bench.close());

  it('is known of every route', () => {
    const routes = allRoutes({ kernel: new FakeKernel() } as never, {} as never);
    expect([...new Set(calls.map(([id]) => id))].sort()).toEqual(routes.map(({ id }) => id).sort());
  });

  it.each(scopes)('%s', async (scope) => {
    const token = tokens.get(scope) ?? '';
    for (const [id, allowed, method, path, body] of calls) {
      if (scope === 'admin' && (id === 'stop' || id === 'down')) continue;
      const response = await bench.get(path, {
        method,
        headers: { authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const answer = await response.text();
      if (scope === 'admin' || allowed.includes(scope)) {
        // There is none to delete: let through, it says so.
        if (id === 'deleteSubscription') expect(answer).toContain('SUBSCRIPTION_NOT_FOUND');
        else expect([id, response.status, answer]).toEqual([id, response.status < 300 ? response.status : 200, answer]);
        continue;
      }
      expect([id, response.status]).toEqual([id, 403]);
      const refusal = JSON.parse(answer) as { code: string; message: string; details: { scope: Scope; held: Scope[] } };
      expect(refusal).toMatchObject({ code: 'SCOPE_MISSING', details: { held: [scope] } });
      expect(refusal.details.scope).toBe(allowed[0] ?? 'admin');
      expect(refusal.message).toContain(`the scope ${allowed[0] ?? 'admin'}`);
    }
    for (const [allowed, path] of sockets) {
      const listener = new Listener(bench.socketUrl(path), { headers: { authorization: `Bearer ${token}` } });
      await until('the handshake is answered', () => listener.refused !== undefined || listener.wasOpen);
      expect([path, listener.wasOpen]).toEqual([path, scope === allowed || scope === 'admin']);
      if (listener.refused) expect(JSON.parse(listener.refused.body)).toMatchObject({ details: { scope: allowed } });
      listener.socket.close();
    }
    expect(bench.kernel.stopped).toBe(false);
  });
});

describe('bounds of a token', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
    bench.kernel.events.record(
      { stream: 'node-n1', type: 'GuestStarted' },
      { stream: 'node-n1', type: 'NodeJoined' },
      { stream: 'node-n2', type: 'GuestExited' },
      { stream: 'kernel', type: 'StackAssembled' },
    );
  });
  afterAll(() => bench.close());

  const clientWith = async (request: TokenRequest) => {
    const { token } = await bench.client.createToken(request);
    const webSocket = WebSocket as unknown as WebSocketConstructor;
    return { token, client: new CloudosClient({ url: bench.gateway.url, token, webSocket }) };
  };

  it('lets no event out that lies outside, by page or by subscription', async () => {
    const { client, token } = await clientWith({
      name: 'guests',
      scopes: ['events:read'],
      events: { types: ['Guest*'] },
    });
    const types = async (asked?: string[]) =>
      (await client.eventsPage(asked === undefined ? {} : { types: asked })).events.map(({ type }) => type);
    expect(await types()).toEqual(['GuestStarted', 'GuestExited']);
    expect(await types([])).toEqual(['GuestStarted', 'GuestExited']);
    const empty = await bench.get('/v1/events?types=', { headers: { authorization: `Bearer ${token}` } });
    expect(((await empty.json()) as { events: unknown[] }).events).toHaveLength(2);
    expect(await types(['*'])).toEqual(['GuestStarted', 'GuestExited']);
    expect(await types(['GuestE*'])).toEqual(['GuestExited']);
    await expect(types(['NodeJoined'])).rejects.toMatchObject({
      code: 'SCOPE_MISSING',
      message: expect.stringContaining('types Guest*; given NodeJoined'),
    });
    const seen: string[] = [];
    for await (const { type } of client.events({ from: 'start' })) {
      seen.push(type);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(['GuestStarted', 'GuestExited']);
  });

  it('joins conditions', async () => {
    const events = { types: ['Guest*'], streams: ['node-n2'] };
    const { client } = await clientWith({ name: 'n2', scopes: ['events:read'], events });
    expect((await client.eventsPage()).events.map(({ position }) => position)).toEqual([2]);
  });

  it.each([
    ['a name that breaks tables', { name: 'a b', scopes: ['state:read'] }],
    ['no scope', { name: 'a', scopes: [] }],
    ['an unknown scope', { name: 'a', scopes: ['root'] }],
    ['a stream that is not private', { name: 'a', scopes: ['streams:append'], appends: ['kernel'] }],
    ['an unknown condition', { name: 'a', scopes: ['events:read'], events: { colour: ['red'] } }],
    ['no time at all', { name: 'a', scopes: ['state:read'], ttlMs: 0 }],
    ['a field of another API', { name: 'a', scopes: ['state:read'], expiry: '1h' }],
  ])('refuses %s', async (_name, body) => {
    const response = await bench.post('/v1/tokens', body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'REQUEST_MALFORMED' });
  });
});
