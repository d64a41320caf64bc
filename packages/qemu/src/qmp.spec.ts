import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { QmpClient } from './qmp.ts';

const greeting = `${JSON.stringify({ QMP: { version: {}, capabilities: [] } })}\r\n`;
let directory: string;
let server: Server | undefined;
const sockets: Socket[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cloudos-qmp-'));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
  await rm(directory, { recursive: true, force: true });
});

/** A monitor that treats its n-th connection as told. */
async function monitor(serve: (socket: Socket, connection: number) => void): Promise<string> {
  const path = join(directory, 'qmp');
  let connections = 0;
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    connections += 1;
    serve(socket, connections);
  });
  await new Promise<void>((resolve) => server?.listen(path, resolve));
  return path;
}

function answering(socket: Socket): void {
  socket.write(greeting);
  socket.on('data', (data: Buffer) => {
    for (const line of data.toString().split('\n').filter(Boolean)) {
      const { execute, id } = JSON.parse(line) as { execute: string; id: number };
      if (execute === 'never') continue;
      if (execute === 'wrong')
        socket.write(`${JSON.stringify({ error: { class: 'GenericError', desc: 'it is wrong' }, id })}\n`);
      else socket.write(`${JSON.stringify({ event: 'STOP' })}\n${JSON.stringify({ return: { said: execute }, id })}\n`);
    }
  });
}

test('another connection is made when the first is never greeted', async () => {
  const path = await monitor((socket, connection) => connection > 1 && answering(socket));
  const qmp = await QmpClient.connect(path);
  expect(await qmp.execute('query-status')).toEqual({ said: 'query-status' });
  qmp.close();
});

test('a socket that is not there yet is waited for', async () => {
  const path = join(directory, 'qmp');
  const connected = QmpClient.connect(path);
  await monitor(answering);
  (await connected).close();
});

test('events are told, and answers find their commands whatever comes between', async () => {
  const qmp = await QmpClient.connect(await monitor(answering));
  const events: string[] = [];
  qmp.events.subscribe(({ event }) => events.push(event));
  const [one, two] = await Promise.all([qmp.execute('one'), qmp.execute('two')]);
  expect([one, two]).toEqual([{ said: 'one' }, { said: 'two' }]);
  expect(events).toEqual(['STOP', 'STOP']);
  qmp.close();
});

test('an error of QEMU is told in its words', async () => {
  const qmp = await QmpClient.connect(await monitor(answering));
  await expect(qmp.execute('wrong')).rejects.toMatchObject({
    code: 'HOST_COMMAND_FAILED',
    message: expect.stringContaining('it is wrong'),
  });
  qmp.close();
});

test('no answer, an end, and nobody there are unresponsive within their bounds', async () => {
  const path = await monitor(answering);
  const qmp = await QmpClient.connect(path);
  await expect(qmp.execute('never', {}, 50)).rejects.toMatchObject({ code: 'GUEST_UNRESPONSIVE' });
  const open = qmp.execute('never');
  for (const socket of sockets) socket.destroy();
  await expect(open).rejects.toMatchObject({ code: 'GUEST_UNRESPONSIVE' });
  await expect(QmpClient.connect(join(directory, 'nobody'), { timeoutMs: 60 })).rejects.toMatchObject({
    code: 'GUEST_UNRESPONSIVE',
  });
  const dead = QmpClient.connect(join(directory, 'nobody'), { isAlive: () => false });
  await expect(dead).rejects.toMatchObject({ code: 'GUEST_UNRESPONSIVE' });
});
