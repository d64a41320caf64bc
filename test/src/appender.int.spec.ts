import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Appender, type AppendRow, CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import { type Gateway, startGateway } from '@cloudos/gateway';
import { LogKernel } from '@cloudos/gateway/testing';
import { LmdbEventLog } from '@cloudos/log-lmdb';
import { newId, type RecordedEvent } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';

const webSocket = WebSocket as unknown as WebSocketConstructor;
const backoff = { initialMs: 5, maxMs: 50 };
const type = 'x-audit-Seen';

describe('an appender', () => {
  let directory: string;
  let log: LmdbEventLog;
  let gateway: Gateway;
  let appender: Appender;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cloudos-appender-'));
    log = await LmdbEventLog.open({ directory: join(directory, 'log') });
    gateway = await startGateway({ kernel: new LogKernel(log, directory).asKernel(), stateDir: directory });
    appender = new CloudosClient({ url: gateway.url, token: gateway.token, webSocket }).appender({ backoff });
  });
  afterEach(async () => {
    appender.close();
    await gateway.close();
    await log.close();
    await rm(directory, { recursive: true, force: true });
  });

  const recorded = async (stream: string) => {
    const events: RecordedEvent[] = [];
    for await (const batch of log.read({ stream })) events.push(...batch);
    return events;
  };
  const numbers = async (stream: string) => (await recorded(stream)).map(({ data }) => (data as { n: number }).n);

  it('has an answer for each append, whatever becomes of those beside it', async () => {
    const id = newId();
    const once = { type, data: { n: 0 }, id };
    const outcomes = await Promise.allSettled([
      appender.append('x-a', [once], 'none'),
      appender.append('x-a', [once]),
      appender.append('x-a', [{ type, data: { n: 1 } }], 'none'),
      appender.append('orchestrator', [{ type }]),
      appender.append('x-a', []),
      appender.append('x-a', [{ type, id: 'no UUID' }]),
      appender.append('x-a', [{ type, data: 1n }]),
      appender.append('x-a', [{ type }, { type, data: null }, { type: 'x-audit-Ünsaid', data: '\u{1f642} "\\' }], 0),
      appender.append('x-b', [{ type, data: { n: 2 } }]),
    ]);
    expect(outcomes).toMatchObject([
      { value: { first: 0, last: 0, revision: 0, duplicate: false } },
      { value: { first: 0, last: 0, revision: 0, duplicate: true } },
      { reason: { code: 'REVISION_CONFLICT', details: { stream: 'x-a', expected: 'none', actual: 0 } } },
      { reason: { code: 'SCOPE_MISSING' } },
      { reason: { code: 'REQUEST_MALFORMED' } },
      { reason: { code: 'REQUEST_MALFORMED' } },
      { reason: { message: expect.stringContaining('BigInt') } },
      { value: { first: 1, last: 3, revision: 3, duplicate: false } },
      { value: { first: 4, last: 4, revision: 0, duplicate: false } },
    ]);
    const events = await recorded('x-a');
    expect(events.map((event) => [event.type, event.data])).toEqual([
      [type, { n: 0 }],
      [type, {}],
      [type, null],
      ['x-audit-Ünsaid', '\u{1f642} "\\'],
    ]);
    expect(events[0]?.id).toBe(id);
  });

  it('takes what stands in an event at the call, and messages of any size in all', async () => {
    const event = { type, data: { n: 0, text: 'ä'.repeat(10_000) } };
    const appends: Promise<unknown>[] = [];
    for (let n = 0; n < 300; n++) {
      event.data.n = n;
      appends.push(appender.append('x-large', [event]));
    }
    await Promise.all(appends);
    expect(await numbers('x-large')).toEqual(Array.from({ length: 300 }, (_, n) => n));
  });

  it('sends again what was on the way when a connection was lost, and has it recorded once', async () => {
    const { port } = gateway;
    const appends = Array.from({ length: 3_000 }, (_, n) => appender.append('x-often', [{ type, data: { n } }]));
    // The first are answered; of the others some are in the log, some on the way, some not sent.
    await appends[0];
    const closing = gateway.close();
    for (let n = 3_000; n < 3_100; n++) appends.push(appender.append('x-often', [{ type, data: { n } }]));
    await closing;
    gateway = await startGateway({ kernel: new LogKernel(log, directory).asKernel(), stateDir: directory, port });
    await Promise.all(appends);
    expect(await numbers('x-often')).toEqual(Array.from({ length: 3_100 }, (_, n) => n));
  });

  it('rejects what no connection can be had for, and goes on when there is one again', async () => {
    const { port } = gateway;
    await gateway.close();
    const few = new CloudosClient({ url: gateway.url, token: gateway.token, webSocket });
    const impatient = few.appender({ backoff, retriesMax: 2, inFlightMax: 1 });
    const refused = impatient.append('x-a', [{ type }]);
    await expect(impatient.append('x-a', [{ type }])).rejects.toMatchObject({ code: 'LOG_OVERLOADED' });
    await expect(refused).rejects.toMatchObject({ code: 'KERNEL_UNREACHABLE' });
    gateway = await startGateway({ kernel: new LogKernel(log, directory).asKernel(), stateDir: directory, port });
    await expect(impatient.append('x-a', [{ type }])).resolves.toMatchObject({ first: 0 });
    impatient.close();
  });
});

/** A gateway of a time when there was no `appendEach`: what it answered then. */
async function oldGateway(): Promise<{ url: string; taken: unknown[]; close(): Promise<void> }> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  const taken: unknown[] = [];
  server.on('connection', (socket) =>
    socket.on('message', (data: Buffer) => {
      const given = JSON.parse(data.toString()) as object | object[];
      const answers = [given].flat().map((request) => {
        const { id, method, params } = request as {
          id: number;
          method: string;
          params: { events: { data: unknown }[] };
        };
        if (method !== 'append') {
          const message = `no method ${method}`;
          return {
            jsonrpc: '2.0',
            id,
            error: { code: -32601, message, data: { code: 'REQUEST_MALFORMED', message, remedy: '' } },
          };
        }
        const at = taken.push(params) - 1;
        return { jsonrpc: '2.0', id, result: { first: at, last: at, revision: at, duplicate: false } };
      });
      socket.send(JSON.stringify(Array.isArray(given) ? answers : answers[0]));
    }),
  );
  await once(server, 'listening');
  const close = async () => {
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, taken, close };
}

describe('an appender at a gateway that knows of single appends alone', () => {
  it('makes them one by one, in their order', async () => {
    const old = await oldGateway();
    const appender = new CloudosClient({ url: old.url, token: 't', webSocket }).appender({ backoff });
    const appends = Array.from({ length: 600 }, (_, n) =>
      appender.append('x-a', [{ type, data: { n } }], n === 0 ? 'none' : 'any'),
    );
    const outcomes = await Promise.all(appends);
    expect(outcomes.map(({ first }) => first)).toEqual(Array.from({ length: 600 }, (_, n) => n));
    expect(await appender.append('x-a', [{ type }])).toMatchObject({ first: 600 });
    const rows = old.taken as {
      stream: string;
      events: { type: string; data: { n: number }; id: string }[];
      expected?: AppendRow[2];
    }[];
    expect(rows.map(({ events }) => events[0]?.data.n)).toEqual([
      ...Array.from({ length: 600 }, (_, n) => n),
      undefined,
    ]);
    expect(rows[0]).toMatchObject({
      stream: 'x-a',
      events: [{ type, id: expect.stringMatching(/-7/) }],
      expected: 'none',
    });
    appender.close();
    await old.close();
  });
});
