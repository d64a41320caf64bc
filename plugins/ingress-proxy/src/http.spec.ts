import { once } from 'node:events';
import { Agent, type IncomingMessage, request as send } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, bench, freePort, service } from './ingress.fixture.ts';
import type { ProxyIngress } from './proxy-ingress.ts';

let on: Bench;
beforeEach(() => {
  on = bench();
});
afterEach(() => on.scope.close());

async function urlOf(ingress: ProxyIngress, served = service([])): Promise<string> {
  const [address] = await ingress.apply([served]);
  const port = Object.values(address?.ports ?? {})[0];
  return `http://${address?.host}:${port}`;
}

interface Load {
  readonly failures: unknown[];
  readonly done: number;
  stop(): Promise<void>;
}

/** Requests without pause from several clients until stopped. */
function load(url: string, clients = 8): Load {
  const failures: unknown[] = [];
  const counter = { done: 0 };
  let going = true;
  const client = async () => {
    while (going) {
      try {
        const answer = await fetch(url);
        const text = await answer.text();
        if (answer.status !== 200) failures.push(`${answer.status} ${text}`);
      } catch (error) {
        failures.push(error);
        await new Promise((resolve) => setImmediate(resolve));
      }
      counter.done += 1;
    }
  };
  on.scope.defer('load', () => {
    going = false;
  });
  const all = Promise.all(Array.from({ length: clients }, client));
  return {
    failures,
    get done() {
      return counter.done;
    },
    async stop() {
      going = false;
      await all;
    },
  };
}

async function until(condition: () => boolean, deadlineMs = 60_000): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('balancing requests', () => {
  it('takes the endpoints in turn, also over one client connection', async () => {
    const backends = await Promise.all(['a', 'b', 'c'].map((name) => on.backend(name)));
    const url = await urlOf(await on.ingress(), service(backends));
    for (let count = 0; count < 30; count++) await (await fetch(url)).text();
    expect(backends.map(({ seen }) => seen.length)).toEqual([10, 10, 10]);
  });

  it('passes on method, path, body and fields, and keeps those of the connection to itself', async () => {
    const got: { headers: IncomingMessage['headers']; body: number }[] = [];
    const backend = await on.backend('a', async (request, response) => {
      let body = 0;
      for await (const chunk of request) body += (chunk as Buffer).length;
      got.push({ headers: request.headers, body });
      response.writeHead(201, 'Made', { 'set-cookie': ['a=1', 'b=2'], 'x-answer': 'yes' }).end('ok');
    });
    const url = await urlOf(await on.ingress(), service([backend]));
    const body = Buffer.alloc(3_000_000, 'x');
    const answer = await fetch(`${url}/a/b?c=d`, { method: 'POST', body, headers: { 'x-mine': 'kept' } });
    expect([answer.status, answer.statusText, answer.headers.get('x-answer')]).toEqual([201, 'Made', 'yes']);
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(backend.seen).toEqual(['POST /a/b?c=d']);
    expect(got[0]).toMatchObject({ body: body.length, headers: { 'x-mine': 'kept', 'x-forwarded-for': '127.0.0.1' } });
    expect(got[0]?.headers.host).toBe(url.slice('http://'.length));
  });

  it('drops the fields that the connection names', async () => {
    let headers: IncomingMessage['headers'] = {};
    const backend = await on.backend('a', (request, response) => {
      headers = request.headers;
      response.end();
    });
    const url = new URL(await urlOf(await on.ingress(), service([backend])));
    const request = send(url, { headers: { connection: 'x-hop', 'x-hop': '1', 'x-end': '2', te: 'trailers' } }).end();
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    answer.resume();
    expect(headers['x-end']).toBe('2');
    expect(headers).not.toHaveProperty('x-hop');
    expect(headers).not.toHaveProperty('te');
  });
});

describe('an endpoint that is removed', () => {
  it('gets no new request, and none fails under load', async () => {
    const backends = await Promise.all(['a', 'b', 'c'].map((name) => on.backend(name)));
    const [leaving, ...staying] = backends;
    const ingress = await on.ingress();
    const requests = load(await urlOf(ingress, service(backends)));
    await until(() => (leaving?.seen.length ?? 0) > 50);
    await ingress.apply([service(staying)]);
    // Those under way end; then the endpoint is shut down as a guest would be.
    leaving?.server.close();
    await until(() => leaving?.server.listening === false);
    const before = leaving?.seen.length;
    const done = requests.done;
    await until(() => requests.done > done + 200);
    leaving?.die();
    await until(() => requests.done > done + 400);
    await requests.stop();
    expect(requests.failures).toEqual([]);
    expect((leaving?.seen.length ?? 0) - (before ?? 0)).toBeLessThanOrEqual(8);
  });

  it('ends the request that is under way to it', async () => {
    let release = () => {};
    const arrived = new Promise<void>((resolve) => {
      release = resolve;
    });
    let answer = () => {};
    const slow = await on.backend('slow', (_request, response) => {
      answer = () => response.end('late but whole');
      release();
    });
    const other = await on.backend('other');
    const ingress = await on.ingress();
    const url = await urlOf(ingress, service([slow]));
    const pending = fetch(url);
    await arrived;
    await ingress.apply([service([other])]);
    expect(await (await fetch(url)).text()).toBe('other');
    answer();
    expect(await (await pending).text()).toBe('late but whole');
    expect(slow.seen).toHaveLength(1);
  });
});

describe('an endpoint that dies', () => {
  it('costs no request that may be repeated', async () => {
    const backends = await Promise.all(['a', 'b', 'c'].map((name) => on.backend(name)));
    const requests = load(await urlOf(await on.ingress(), service(backends)));
    await until(() => requests.done > 100);
    backends[0]?.die();
    const done = requests.done;
    await until(() => requests.done > done + 300);
    await requests.stop();
    expect(requests.failures).toEqual([]);
  });

  it('passes a request that it never saw to the next, body and all, once', async () => {
    const bodies: string[] = [];
    const alive = await on.backend('alive', async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      bodies.push(Buffer.concat(chunks).toString());
      response.end('done');
    });
    const dead = { name: 'dead', port: await freePort() };
    const url = await urlOf(await on.ingress(), service([dead, alive]));
    for (const body of ['one', 'two']) {
      expect((await fetch(url, { method: 'POST', body })).status).toBe(200);
    }
    expect(bodies).toEqual(['one', 'two']);
  });

  it('does not repeat a request that may have had an effect', async () => {
    const breaking = await on.backend('breaking', (request) => request.socket.destroy());
    const other = await on.backend('other');
    const url = await urlOf(await on.ingress(), service([breaking, other]));
    const answer = await fetch(url, { method: 'POST', body: 'pay' });
    expect(answer.status).toBe(502);
    expect(other.seen).toEqual([]);
  });

  it('retries when an idle connection is closed under a request', async () => {
    let connections = 0;
    const port = await on.tcp((socket: Socket) => {
      connections += 1;
      let requests = 0;
      socket.on('data', () => {
        requests += 1;
        if (requests > 1) socket.destroy();
        else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok');
      });
    });
    const url = await urlOf(await on.ingress(), service([{ name: 'a', port }]));
    for (let count = 0; count < 4; count++) expect(await (await fetch(url)).text()).toBe('ok');
    expect(connections).toBe(4);
  });

  it('breaks off an answer that it broke off', async () => {
    const backend = await on.backend('a', (request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('only this', () => request.socket.destroy());
    });
    const url = await urlOf(await on.ingress(), service([backend]));
    await expect(fetch(url).then((answer) => answer.text())).rejects.toThrow();
  });

  it('is answered for with 504 when it stays silent', async () => {
    const backend = await on.backend('a', () => {});
    const url = await urlOf(await on.ingress({ responseTimeoutMs: 500 }), service([backend]));
    expect((await fetch(url)).status).toBe(504);
    expect(backend.seen).toHaveLength(1);
  });
});

describe('without an endpoint', () => {
  it('answers 503 with Retry-After after the configured wait', async () => {
    const url = await urlOf(await on.ingress({ endpointWaitMs: 60 }), service([]));
    const started = performance.now();
    const answer = await fetch(url);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
    expect(performance.now() - started).toBeGreaterThanOrEqual(55);
  });

  it('serves a request that waited when one comes', async () => {
    const backend = await on.backend('a');
    const ingress = await on.ingress({ endpointWaitMs: 5_000 });
    const url = await urlOf(ingress, service([]));
    const pending = fetch(url);
    await ingress.apply([service([backend])]);
    expect(await (await pending).text()).toBe('a');
  });
});

describe('connections', () => {
  it('refuses more than the configured number', async () => {
    const backend = await on.backend('a');
    const url = new URL(await urlOf(await on.ingress({ connectionsMax: 2 }), service([backend])));
    const sockets: Socket[] = [];
    for (let count = 0; count < 2; count++) {
      const socket = connect(Number(url.port), url.hostname);
      on.scope.defer('client', () => void socket.destroy());
      await once(socket, 'connect');
      socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      await once(socket, 'data');
      sockets.push(socket);
    }
    const third = connect(Number(url.port), url.hostname).on('error', () => {});
    await once(third, 'close');
    expect(sockets.every((socket) => !socket.destroyed)).toBe(true);
  });

  it('stay open when the same is applied again', async () => {
    const backend = await on.backend('a');
    const ingress = await on.ingress();
    const url = await urlOf(ingress, service([backend]));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    on.scope.defer('agent', () => agent.destroy());
    const get = async () => {
      const request = send(url, { agent }).end();
      const [answer] = (await once(request, 'response')) as [IncomingMessage];
      answer.resume();
      await once(answer, 'end');
      await new Promise((resolve) => setImmediate(resolve));
      return request.reusedSocket;
    };
    expect(await get()).toBe(false);
    expect(await urlOf(ingress, service([backend]))).toBe(url);
    expect(await get()).toBe(true);
  });
});

describe('upgrade', () => {
  const ask = async (url: URL, next: string): Promise<string> => {
    const socket = connect(Number(url.port), url.hostname);
    on.scope.defer('client', () => void socket.destroy());
    let text = '';
    socket.on('data', (data: Buffer) => {
      text += data.toString();
    });
    socket.write('GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n');
    await until(() => text.includes('\r\n\r\n'));
    if (next) {
      socket.write(next);
      await until(() => text.endsWith(next));
    }
    return text;
  };

  it('carries bytes both ways, past an endpoint that is dead', async () => {
    const backend = await on.backend('a');
    backend.server.on('upgrade', (_request, socket: Socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n');
      socket.pipe(socket);
    });
    const dead = { name: 'dead', port: await freePort() };
    const url = new URL(await urlOf(await on.ingress(), service([dead, backend])));
    expect(await ask(url, 'hello')).toMatch(/^HTTP\/1.1 101 .*hello$/s);
  });

  it('passes on a refusal', async () => {
    const backend = await on.backend('a');
    backend.server.on('upgrade', (_request, socket: Socket) => {
      socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno');
    });
    const url = new URL(await urlOf(await on.ingress(), service([backend])));
    expect(await ask(url, '')).toMatch(/^HTTP\/1.1 403 Forbidden/);
  });

  it('answers 503 without an endpoint', async () => {
    const url = new URL(await urlOf(await on.ingress({ endpointWaitMs: 20 }), service([])));
    expect(await ask(url, '')).toMatch(/^HTTP\/1.1 503 .*Retry-After: 1/s);
  });
});
