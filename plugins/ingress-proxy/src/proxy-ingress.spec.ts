import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { hasCode, type IngressService, silentLogger } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, bench, freePort, service } from './ingress.fixture.ts';
import { PortBook, rememberedMax } from './port-book.ts';
import { modeOf, type ProxyIngress } from './proxy-ingress.ts';

let on: Bench;
beforeEach(() => {
  on = bench();
});
afterEach(() => on.scope.close());

async function portOf(ingress: ProxyIngress, served: IngressService): Promise<number> {
  const [address] = await ingress.apply([served]);
  return Object.values(address?.ports ?? {})[0] ?? 0;
}

const refused = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => resolve(true));
    socket.on('connect', () => {
      socket.destroy();
      resolve(false);
    });
  });

describe('the port of a service', () => {
  it('is the nodePort where one is asked for', async () => {
    const nodePort = await freePort();
    expect(await portOf(await on.ingress(), service([], { nodePort }))).toBe(nodePort);
  });

  it('is that of the service where it is free, else another', async () => {
    const free = await freePort();
    const taken = await on.tcp(() => {});
    const ingress = await on.ingress();
    expect(await portOf(ingress, service([], { port: free }))).toBe(free);
    const other = await portOf(ingress, service([], { port: taken }));
    expect(other).toBeGreaterThan(0);
    expect(other).not.toBe(taken);
  });

  it('stays the same over applications and restarts', async () => {
    const taken = await on.tcp(() => {});
    const first = await on.ingress();
    const port = await portOf(first, service([], { port: taken }));
    const backend = await on.backend('a');
    expect(await portOf(first, service([backend], { port: taken }))).toBe(port);
    await first.close();
    expect(await refused(port)).toBe(true);
    const second = await on.ingress();
    await second.apply([]);
    expect(await portOf(second, service([], { port: taken }))).toBe(port);
  });

  it('moves when another nodePort is asked for', async () => {
    const [one, two] = [await freePort(), await freePort()];
    const ingress = await on.ingress();
    expect(await portOf(ingress, service([], { nodePort: one }))).toBe(one);
    expect(await portOf(ingress, service([], { nodePort: two }))).toBe(two);
    expect(await refused(one)).toBe(true);
  });

  it('is PORT_IN_USE when the nodePort is taken; other services are served all the same', async () => {
    const nodePort = await on.tcp(() => {});
    const backend = await on.backend('b');
    const other = await freePort();
    const ingress = await on.ingress();
    const wanted = [service([], { nodePort }), service([backend], { nodePort: other }, 'default/other')];
    const failure = await ingress.apply(wanted).catch((error: unknown) => error);
    expect(hasCode(failure, 'PORT_IN_USE')).toBe(true);
    expect((failure as Error).message).toContain(String(nodePort));
    expect(await (await fetch(`http://127.0.0.1:${other}`)).text()).toBe('b');
  });

  it('is freed when the service is removed', async () => {
    const ingress = await on.ingress();
    const port = await portOf(ingress, service([]));
    await ingress.apply([]);
    expect(await refused(port)).toBe(true);
  });

  it('is left out for UDP', async () => {
    const [address] = await (await on.ingress()).apply([service([], { protocol: 'udp' })]);
    expect(address?.ports).toEqual({});
  });
});

describe('closing', () => {
  it('lets a request under way end and frees the ports', async () => {
    let answer = () => {};
    const backend = await on.backend('a', (_request, response) => {
      answer = () => response.end('whole');
    });
    const ingress = await on.ingress({ drainMs: 9_000 });
    const port = await portOf(ingress, service([backend]));
    const pending = fetch(`http://127.0.0.1:${port}`);
    await once(backend.server, 'request');
    const closing = ingress.close();
    expect(await refused(port)).toBe(true);
    answer();
    expect(await (await pending).text()).toBe('whole');
    const answered = performance.now();
    await closing;
    expect(performance.now() - answered).toBeLessThan(8_000);
    await expect(ingress.apply([])).rejects.toMatchObject({ code: 'SLOT_EMPTY' });
  });

  it('cuts off what does not end in time', async () => {
    const backend = await on.backend('a', () => {});
    const ingress = await on.ingress({ drainMs: 50 });
    const port = await portOf(ingress, service([backend]));
    const pending = fetch(`http://127.0.0.1:${port}`).catch(() => 'cut off');
    await once(backend.server, 'request');
    await ingress.close();
    expect(await pending).toBe('cut off');
  });
});

describe('TCP', () => {
  const tcp = { appProtocol: 'tcp' };
  const talk = (port: number, text: string) =>
    new Promise<string>((resolve, reject) => {
      let got = '';
      const socket = connect(port, '127.0.0.1');
      socket.on('data', (data: Buffer) => {
        got += data.toString();
      });
      socket.on('end', () => resolve(got));
      socket.on('error', reject);
      socket.end(text);
    });
  /** Answers, after the client has ended, with its name and what it got. */
  const echo = (name: string) => (socket: Socket) => {
    let got = '';
    socket.on('data', (data: Buffer) => {
      got += data.toString();
    });
    socket.on('end', () => socket.end(`${name}:${got}`));
  };

  it('takes the endpoints in turn for each connection, half-closed ones included', async () => {
    const targets = await Promise.all(['a', 'b'].map(async (name) => ({ name, port: await on.tcp(echo(name)) })));
    const port = await portOf(await on.ingress(), service(targets, tcp));
    const answers = [];
    for (const text of ['1', '2', '3', '4']) answers.push(await talk(port, text));
    expect(answers).toEqual(['a:1', 'b:2', 'a:3', 'b:4']);
  });

  it('goes to the next endpoint when one cannot be reached', async () => {
    const alive = { name: 'b', port: await on.tcp(echo('b')) };
    const dead = { name: 'a', port: await freePort() };
    const port = await portOf(await on.ingress(), service([dead, alive], tcp));
    expect([await talk(port, '1'), await talk(port, '2')]).toEqual(['b:1', 'b:2']);
  });

  it('resets the connection without an endpoint', async () => {
    const port = await portOf(await on.ingress({ endpointWaitMs: 20 }), service([], tcp));
    await expect(talk(port, '1')).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it('breaks the connection when the endpoint does', async () => {
    const target = { name: 'a', port: await on.tcp((socket) => socket.once('data', () => socket.resetAndDestroy())) };
    const port = await portOf(await on.ingress(), service([target], tcp));
    await expect(talk(port, '1')).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it('keeps a connection to an endpoint that is removed', async () => {
    const target = { name: 'a', port: await on.tcp(echo('a')) };
    const ingress = await on.ingress();
    const port = await portOf(ingress, service([target], tcp));
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write('x');
    await once(socket, 'connect');
    await expect(talk(port, 'y')).resolves.toBe('a:y');
    await ingress.apply([service([], tcp)]);
    socket.end();
    const [data] = (await once(socket, 'data')) as [Buffer];
    expect(data.toString()).toBe('a:x');
  });
});

describe('which ports carry HTTP', () => {
  it.each([
    [{ appProtocol: 'http', name: 'x' }, 'http'],
    [{ appProtocol: 'kubernetes.io/ws' }, 'http'],
    [{ appProtocol: 'https', name: 'http' }, 'tcp'],
    [{ name: 'http' }, 'http'],
    [{ name: 'http-api' }, 'http'],
    [{ name: 'web' }, 'http'],
    [{ name: 'https' }, 'tcp'],
    [{ name: 'http2' }, 'tcp'],
    [{ name: 'website' }, 'tcp'],
    [{}, 'tcp'],
  ])('%j: %s', (port, mode) => {
    expect(modeOf(port)).toBe(mode);
  });
});

describe('the book of ports', () => {
  const path = () => join(on.dataDir, 'ports.json');

  it('takes a damaged file for an empty one', () => {
    writeFileSync(path(), '{"version":1,"ports":{"a":"b"}}');
    const book = new PortBook(path(), silentLogger);
    expect(book.get('a')).toBeUndefined();
    book.set('a', 80);
    expect(new PortBook(path(), silentLogger).get('a')).toBe(80);
  });

  it('forgets the oldest beyond its bound', () => {
    const book = new PortBook(path(), silentLogger);
    for (let count = 0; count <= rememberedMax; count++) book.set(`s${count}`, 1024 + count);
    expect([book.get('s0'), book.get('s1')]).toEqual([undefined, 1025]);
  });
});
