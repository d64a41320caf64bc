import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { CloudosClient } from './client.ts';

/** Breaks the connection of some requests before an answer, as a server does that has taken it for idle. */
class FleetingServer {
  readonly requests: string[] = [];
  readonly #server: Server;

  /** @param answers whether the request of that number is answered */
  constructor(answers: (count: number) => boolean) {
    this.#server = createServer(async (request, response) => {
      let body = '';
      for await (const part of request) body += (part as Buffer).toString();
      this.requests.push(body);
      if (answers(this.requests.length)) response.setHeader('content-type', 'application/json').end('{}');
      else request.socket.resetAndDestroy();
    });
  }

  async open(): Promise<CloudosClient> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const { port } = this.#server.address() as AddressInfo;
    return new CloudosClient({ url: `http://127.0.0.1:${port}`, token: 't' });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

describe('a request whose connection breaks before an answer', () => {
  let server: FleetingServer;
  afterEach(() => server.close());

  it('is sent again when nothing happens twice by it', async () => {
    server = new FleetingServer((count) => count % 3 === 0);
    const client = await server.open();
    for (let n = 0; n < 3; n++) expect(await client.status()).toEqual({});
    expect(server.requests).toHaveLength(9);
  });

  it('is sent again with the id that it has, when it is a command', async () => {
    server = new FleetingServer((count) => count > 1);
    const client = await server.open();
    await client.command({ slot: 'orchestrator', command: { type: 'RemoveAll' } });
    const [first, again, ...more] = server.requests.map((body) => (JSON.parse(body) as { id: string }).id);
    expect(first).toMatch(/^[0-9a-f]{8}-/);
    expect([again, more]).toEqual([first, []]);
  });

  it('is sent once when it might happen twice', async () => {
    server = new FleetingServer((count) => count > 1);
    const client = await server.open();
    const swap = client.swap({ slot: 'resources', plugin: 'resources-spread' });
    await expect(swap).rejects.toMatchObject({ code: 'KERNEL_UNREACHABLE' });
    expect(server.requests).toHaveLength(1);
  });

  it('is given up after a bounded number of attempts', async () => {
    server = new FleetingServer(() => false);
    const client = await server.open();
    await expect(client.status()).rejects.toMatchObject({ code: 'KERNEL_UNREACHABLE' });
    expect(server.requests).toHaveLength(3);
  });
});
