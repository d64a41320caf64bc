import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startGateway } from '../gateway.ts';
import { type Bench, Listener, openBench, RawConnection, until } from '../spec-kit.ts';
import { FakeKernel } from '../testing/index.ts';
import { ensureToken, sameToken, tokenFileOf } from './token-file.ts';

describe('who may use the gateway', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench({ allowedOrigins: ['https://console.example'] });
  });
  afterEach(() => bench.close());

  it.each([
    ['no token', {}],
    ['a wrong token', { authorization: 'Bearer wrong' }],
    ['another scheme', { authorization: 'Basic abc' }],
  ])('refuses a request with %s and names the token file', async (_name, headers) => {
    const response = await fetch(`${bench.gateway.url}/v1/status`, { headers: headers as Record<string, string> });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({
      code: 'UNAUTHENTICATED',
      remedy: expect.stringContaining(tokenFileOf(bench.stateDir)),
    });
  });

  it('does not take the token from the query of a plain request', async () => {
    const response = await fetch(`${bench.gateway.url}/v1/status?token=${bench.gateway.token}`);
    expect(response.status).toBe(401);
  });

  it('takes the token of a WebSocket from the header or from a subprotocol entry, never from the address', async () => {
    const url = bench.socketUrl('/v1/events');
    const bearer = `cloudos.bearer.${bench.gateway.token}`;
    for (const [address, protocols] of [
      [`${url}?token=${bench.gateway.token}`, []],
      [url, ['cloudevents.json', 'cloudos.bearer.wrong']],
    ] as const) {
      const refused = new Listener(address, {}, [...protocols]);
      await until('the handshake is refused', () => refused.refused !== undefined);
      expect(refused.refused?.status).toBe(401);
      expect(JSON.parse(refused.refused?.body ?? '')).toMatchObject({ code: 'UNAUTHENTICATED' });
    }
    const byHeader = await bench.listen('/v1/events').opened();
    expect(byHeader.socket.protocol).toBe('');
    const byProtocol = await new Listener(url, {}, [bearer, 'cloudevents.json']).opened();
    expect(byProtocol.socket.protocol).toBe('cloudevents.json');
    byHeader.socket.close();
    byProtocol.socket.close();
  });

  it('speaks no subprotocol that was not offered, and none that it does not know', async () => {
    const bearer = `cloudos.bearer.${bench.gateway.token}`;
    for (const protocols of [[bearer], [bearer, 'mqtt']]) {
      const refused = new Listener(bench.socketUrl('/v1/events'), {}, protocols);
      await until('the handshake is refused', () => refused.refused !== undefined);
      expect(refused.refused?.status).toBe(400);
      const body = JSON.parse(refused.refused?.body ?? '');
      expect(body).toMatchObject({
        code: 'SUBPROTOCOL_UNSUPPORTED',
        details: { spoken: ['cloudevents.json', 'cloudos.batch.v1'] },
      });
      expect(JSON.stringify(body)).not.toContain(bench.gateway.token);
    }
  });

  it('refuses pages of other origins, lets its own and the allowed ones in', async () => {
    const evil = await bench.get('/v1/status', { headers: { origin: 'https://evil.example' } });
    expect(evil.status).toBe(403);
    expect(await evil.json()).toMatchObject({ code: 'ORIGIN_FORBIDDEN' });
    const own = await bench.get('/v1/status', { headers: { origin: bench.gateway.url } });
    expect(own.status).toBe(200);
    const allowed = await bench.get('/v1/status', { headers: { origin: 'https://console.example' } });
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://console.example');
    const preflight = await fetch(`${bench.gateway.url}/v1/commands`, {
      method: 'OPTIONS',
      headers: { origin: 'https://console.example', 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization');
    const socket = bench.listen('/v1/events', { origin: 'https://evil.example' });
    await until('the handshake is refused', () => socket.refused !== undefined);
    expect(socket.refused?.status).toBe(403);
  });

  it('answers what is not HTTP with an error body and goes on', async () => {
    const raw = new RawConnection(bench.gateway.port);
    raw.socket.write('\x16\x03\x01 this is no request\r\n\r\n');
    await until('the connection is closed', () => raw.ended);
    expect(raw.received.toString()).toContain('REQUEST_MALFORMED');
    expect((await bench.get('/v1/status')).status).toBe(200);
  });
});

describe('the files of the gateway', () => {
  let stateDir: string;
  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'cloudos-gateway-'));
  });
  afterEach(() => rm(stateDir, { recursive: true, force: true }));

  it('makes the token once, for its owner only, also when two start at once', async () => {
    const tokens = await Promise.all([ensureToken(stateDir), ensureToken(stateDir), ensureToken(stateDir)]);
    expect(new Set(tokens).size).toBe(1);
    expect(tokens[0]).toMatch(/^cloudos_[\w-]{43}$/);
    expect((await stat(tokenFileOf(stateDir))).mode & 0o777).toBe(0o600);
    await chmod(tokenFileOf(stateDir), 0o644);
    expect(await ensureToken(stateDir)).toBe(tokens[0]);
    expect((await stat(tokenFileOf(stateDir))).mode & 0o777).toBe(0o600);
  });

  it('compares tokens of any length', () => {
    expect(sameToken('abc', 'abc')).toBe(true);
    expect(sameToken('abd', 'abc')).toBe(false);
    expect(sameToken('', 'abc')).toBe(false);
  });

  it('says where it is reached while it runs, and not any longer', async () => {
    const gateway = await startGateway({ kernel: new FakeKernel(stateDir), stateDir });
    const file = join(stateDir, 'endpoint.json');
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({
      url: gateway.url,
      pid: process.pid,
      startedAt: expect.any(Number),
    });
    await gateway.close();
    await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('names who holds the port', async () => {
    const first = await startGateway({ kernel: new FakeKernel(stateDir), stateDir });
    const second = startGateway({ kernel: new FakeKernel(stateDir), stateDir, port: first.port });
    await expect(second).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining(process.platform === 'linux' ? `process ${process.pid}` : String(first.port)),
    });
    await first.close();
  });
});
