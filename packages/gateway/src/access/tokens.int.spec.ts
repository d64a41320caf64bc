import { readFile } from 'node:fs/promises';
import { CloudosClient, type Scope, type WebSocketConstructor } from '@cloudos/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { startGateway } from '../gateway.ts';
import { type Bench, Listener, openBench, RawConnection, until } from '../spec-kit.ts';

describe('tokens and what is open with them', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench();
    bench.kernel.output.set('web-1', [{ stream: 'stdout', data: Buffer.from('hello\n') }]);
  });
  afterEach(() => bench.close());

  const make = async (scopes: Scope[], ttlMs: number | null = null) => {
    const made = await bench.client.createToken({ name: `t${scopes.length}`, scopes, ttlMs });
    const headers = { authorization: `Bearer ${made.token}` };
    const webSocket = WebSocket as unknown as WebSocketConstructor;
    const client = new CloudosClient({ url: bench.gateway.url, token: made.token, webSocket });
    return { ...made, headers, client };
  };

  /** A subscription, a command that runs, a log that is followed: all of one token. */
  const openAll = async (token: Awaited<ReturnType<typeof make>>) => {
    const events = await new Listener(bench.socketUrl('/v1/events'), { headers: token.headers }).opened();
    const exec = await token.client.exec('web-1', { command: ['cat'] });
    let followed = 'open';
    const logs = await bench.get('/v1/instances/web-1/logs?follow', { headers: token.headers });
    const reading = logs.text().then(
      () => {
        followed = 'ended';
      },
      () => {
        followed = 'cut off';
      },
    );
    // The feed over plain HTTP is one more connection.
    const accept = 'application/x-ndjson';
    const feed = await bench.get('/v1/events?from=now', { headers: { ...token.headers, accept } });
    let fed = 'open';
    const feeding = feed.text().then(
      () => {
        fed = 'ended';
      },
      () => {
        fed = 'cut off';
      },
    );
    expect([followed, fed]).toEqual(['open', 'open']);
    return { events, exec, followed: () => Promise.all([reading, feeding]).then(() => [followed, fed]) };
  };

  it('closes everything of a token the moment it is revoked, and of no other', async () => {
    const token = await make(['events:read', 'guests:exec', 'guests:logs']);
    const other = await make(['events:read']);
    const open = await openAll(token);
    const others = await new Listener(bench.socketUrl('/v1/events'), { headers: other.headers }).opened();
    expect(await bench.client.revokeToken(token.id)).toMatchObject({ id: token.id, state: 'revoked' });
    await until('the subscription is closed', () => open.events.closed !== undefined);
    expect(open.events.closed).toEqual({ code: 4401, reason: 'TOKEN_REVOKED' });
    await expect(open.exec.exitCode).rejects.toThrow(/TOKEN_REVOKED/);
    await until('the command was ended', () => bench.kernel.execs[0]?.killed === true);
    expect(await open.followed()).toEqual(['cut off', 'cut off']);
    await until('the log is read no more', () => bench.kernel.openLogs === 0);
    await expect(token.client.status()).rejects.toMatchObject({
      code: 'TOKEN_REVOKED',
      message: expect.stringContaining(token.id),
    });
    expect(others.closed).toBeUndefined();
    others.socket.close();
    const again = new Listener(bench.socketUrl('/v1/events'), { headers: token.headers });
    await until('the handshake is refused', () => again.refused !== undefined);
    expect(JSON.parse(again.refused?.body ?? '')).toMatchObject({ code: 'TOKEN_REVOKED' });
  });

  it('takes nothing more of a peer that does not close when it is told to', async () => {
    const token = await make(['events:read', 'streams:append', 'guests:exec']);
    const append = (n: number) => {
      const events = [{ type: 'x-a-Seen', data: { n } }];
      return JSON.stringify({ jsonrpc: '2.0', id: n, method: 'append', params: { stream: 'x-a', events } });
    };
    const open = (path: string) => new RawConnection(bench.gateway.port).handshake(path, token.headers);
    const [feed, exec] = [await open('/v1/events'), await open('/v1/instances/web-1/exec?command=cat')];
    feed.socket.write(maskedText(append(1)));
    await until('an append is taken', () => bench.kernel.events.revisionOf('x-a') === 0);
    await until('the command runs', () => bench.kernel.execs.length > 0);
    await bench.client.revokeToken(token.id);
    for (const raw of [feed, exec]) await until('it is told to close', () => raw.closeCode() === 4401 || raw.ended);
    feed.socket.write(maskedText(append(2)));
    await until('both are cut off', () => feed.ended && exec.ended);
    await until('the command was ended', () => bench.kernel.execs[0]?.killed === true);
    expect(bench.kernel.events.revisionOf('x-a')).toBe(0);
  });

  it('closes everything of a token when it expires', async () => {
    const token = await make(['events:read', 'guests:exec', 'guests:logs'], 4_000);
    const open = await openAll(token);
    await until('the subscription is closed', () => open.events.closed !== undefined);
    expect(Date.now()).toBeGreaterThanOrEqual(token.expiresAt ?? Number.POSITIVE_INFINITY);
    expect(open.events.closed).toEqual({ code: 4401, reason: 'TOKEN_EXPIRED' });
    await expect(open.exec.exitCode).rejects.toThrow(/TOKEN_EXPIRED/);
    expect(await open.followed()).toEqual(['cut off', 'cut off']);
    await expect(token.client.status()).rejects.toMatchObject({ code: 'TOKEN_EXPIRED' });
    expect((await bench.client.tokens())[0]).toMatchObject({ id: token.id, state: 'expired' });
  });

  it('answers whoever revokes its own token, then closes', async () => {
    const token = await make(['admin']);
    const events = await new Listener(bench.socketUrl('/v1/events'), { headers: token.headers }).opened();
    expect(await token.client.revokeToken(token.name)).toMatchObject({ state: 'revoked' });
    await until('the subscription is closed', () => events.closed !== undefined);
    await expect(token.client.status()).rejects.toMatchObject({ code: 'TOKEN_REVOKED' });
  });

  it('keeps tokens and revocations over a restart of the gateway', async () => {
    const kept = await make(['state:read']);
    const revoked = await make(['state:read', 'events:read']);
    await bench.client.revokeToken(revoked.id);
    await bench.gateway.close();
    const gateway = await startGateway({ kernel: bench.kernel, stateDir: bench.stateDir });
    try {
      const status = async (token: string) => {
        const headers = { authorization: `Bearer ${token}` };
        return (await fetch(`${gateway.url}/v1/plugins`, { headers })).status;
      };
      expect([await status(kept.token), await status(revoked.token), await status(gateway.token)]).toEqual([
        200, 401, 200,
      ]);
    } finally {
      await gateway.close();
    }
  });
});

describe('limits of a token and of an address', () => {
  let bench: Bench;
  afterEach(() => bench.close());

  it('bounds connections, subscriptions and requests, each with its code and Retry-After', async () => {
    bench = await openBench({
      limits: { connectionsPerToken: 3, subscriptionsPerToken: 2, requestsPerSecondPerToken: 4 },
    });
    bench.kernel.output.set('web-1', []);
    const { token } = await bench.client.createToken({
      name: 't',
      scopes: ['events:read', 'guests:exec', 'state:read'],
    });
    const headers = { authorization: `Bearer ${token}` };
    const open = async (path: string) => {
      const listener = new Listener(bench.socketUrl(path), { headers });
      await until('the handshake is answered', () => listener.refused !== undefined || listener.wasOpen);
      return listener;
    };
    const subscriptions = [await open('/v1/events'), await open('/v1/events')];
    const third = await open('/v1/events');
    expect(third.refused).toMatchObject({ status: 429, headers: { 'retry-after': '5' } });
    expect(JSON.parse(third.refused?.body ?? '')).toMatchObject({ code: 'SUBSCRIPTIONS_EXCEEDED' });
    const exec = await open('/v1/instances/web-1/exec?command=cat');
    expect(exec.wasOpen).toBe(true);
    const fourth = await open('/v1/instances/web-1/exec?command=cat');
    expect(JSON.parse(fourth.refused?.body ?? '')).toMatchObject({ code: 'CONNECTIONS_EXCEEDED' });
    for (const { socket } of [...subscriptions, exec]) socket.close();
    await until('all are closed', () => bench.gateway.connections().subscriptions === 0);
    const answers = await Promise.all(Array.from({ length: 12 }, () => bench.get('/v1/status', { headers })));
    const limited = answers.filter(({ status }) => status === 429);
    expect(limited.length).toBeGreaterThan(0);
    const codes = await Promise.all(limited.map(async (answer) => ((await answer.json()) as { code: string }).code));
    expect(codes.every((code) => code === 'RATE_LIMITED' || code === 'CONNECTIONS_EXCEEDED')).toBe(true);
    expect(codes).toContain('RATE_LIMITED');
    expect(limited.every(({ headers: given }) => Number(given.get('retry-after')) >= 1)).toBe(true);
    expect((await bench.get('/v1/status')).status).toBe(200);
  });

  it('tells an address that tries tokens to wait, and locks nobody else out of it', async () => {
    bench = await openBench({ limits: { refusalsPerMinutePerAddress: 6 } });
    const { token } = await bench.client.createToken({ name: 't', scopes: ['state:read'] });
    const wrong = () => bench.get('/v1/status', { headers: { authorization: 'Bearer wrong' } });
    const seen: number[] = [];
    for (let n = 0; n < 8; n++) seen.push((await wrong()).status);
    expect(seen).toEqual([401, 401, 401, 401, 401, 401, 429, 429]);
    const last = await wrong();
    expect(await last.json()).toMatchObject({ code: 'RATE_LIMITED', message: expect.stringContaining('127.0.0.1') });
    expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(1);
    expect((await bench.get('/v1/status')).status).toBe(200);
    expect((await bench.get('/v1/status', { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
  });

  it('bounds messages: a control channel is told to wait, the input of a command comes later', async () => {
    bench = await openBench({ limits: { messagesPerSecondPerToken: 2 } });
    bench.kernel.output.set('web-1', []);
    const scopes: Scope[] = ['events:read', 'guests:exec'];
    const { token } = await bench.client.createToken({ name: 't', scopes });
    const listener = new Listener(bench.socketUrl('/v1/events'), { headers: { authorization: `Bearer ${token}` } });
    await listener.opened();
    for (let id = 0; id < 40; id++) listener.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' }));
    await until('all are answered', () => listener.messages.length === 40);
    const answers = listener.messages.map((message) => JSON.parse(message) as { error?: { data: unknown } });
    const limited = answers.filter(({ error }) => error !== undefined);
    expect(limited.length).toBeGreaterThan(5);
    expect(limited[0]?.error?.data).toMatchObject({
      code: 'RATE_LIMITED',
      details: { retryAfterMs: expect.any(Number) },
    });
    listener.socket.close();
    const webSocket = WebSocket as unknown as WebSocketConstructor;
    const client = new CloudosClient({ url: bench.gateway.url, token, webSocket });
    const session = await client.exec('web-1', { command: ['cat'] });
    let echoed = '';
    session.output.subscribe(({ data }) => {
      echoed += Buffer.from(data).toString();
    });
    const started = Date.now();
    const words = Array.from({ length: 25 }, (_, n) => `${n} `);
    for (const word of words) await session.write(Buffer.from(word));
    await until('they have come', () => echoed.length > 0);
    await session.write(Buffer.from('last'));
    await until('all of it has come', () => echoed === `${words.join('')}last`);
    // Those that came at once are made up for before the last one: two seconds' worth, the most that is owed.
    expect(Date.now() - started).toBeGreaterThan(1_000);
    session.kill();
  });

  it('counts connections over TLS, and counts them off', async () => {
    bench = await openBench({ limits: { connectionsPerAddress: 3 }, tls: true });
    const ca = await readFile(bench.gateway.certificateFile ?? '', 'utf8');
    for (let round = 0; round < 4; round++) {
      const open = await Promise.all(Array.from({ length: 3 }, () => bench.listen('/v1/events', { ca }).opened()));
      const beyond = bench.listen('/v1/events', { ca });
      await until('it is closed', () => beyond.closed !== undefined);
      expect(beyond.wasOpen).toBe(false);
      for (const [at, { socket }] of open.entries()) at % 2 === 0 ? socket.terminate() : socket.close();
      await until('all are closed', () => open.every(({ closed }) => closed !== undefined));
      await until('none is counted', () => bench.gateway.connections().subscriptions === 0);
    }
  });

  it('closes TCP connections beyond those of an address on arrival', async () => {
    bench = await openBench({ limits: { connectionsPerAddress: 3 } });
    const open = await Promise.all(Array.from({ length: 3 }, () => bench.listen('/v1/events').opened()));
    const beyond = bench.listen('/v1/events');
    await until('it is closed', () => beyond.closed !== undefined);
    expect(beyond.wasOpen).toBe(false);
    for (const { socket } of open) socket.close();
    await until('all are closed', () => bench.gateway.connections().subscriptions === 0);
    const again = await bench.listen('/v1/events').opened();
    again.socket.close();
  });
});

/** A text message as a client frames it, with a mask of zeros. */
function maskedText(text: string): Buffer {
  const payload = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0xfe, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]), payload]);
}
