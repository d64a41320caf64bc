import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, openBench, RawConnection, until } from '../spec-kit.ts';

describe('gateway routes', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench({ bounds: { bodyMaxBytes: 10_000 } });
  });
  afterEach(() => bench.close());

  const json = async (path: string) => (await bench.get(path)).json();

  it('answers status, plugins, doctor, why and stats from the kernel', async () => {
    bench.kernel.output.set('web-1', []);
    expect(await json('/v1/status')).toMatchObject({ stack: 'fake', pid: process.pid, head: -1 });
    expect(await json('/v1/plugins')).toEqual([]);
    expect(await json('/v1/doctor')).toEqual({ nodes: [] });
    expect(await json('/v1/why/default%2Fweb')).toMatchObject({ subject: 'default/web' });
    expect(await json('/v1/why/default/web')).toMatchObject({ subject: 'default/web' });
    expect(await json('/v1/instances/web-1/stats')).toEqual({ memoryBytes: 1024, pids: 2 });
  });

  it('answers the view at the head and at a position', async () => {
    const asked: (number | undefined)[] = [];
    bench.kernel.events.record({ stream: 'kernel', type: 'StackAssembled' });
    bench.kernel.onView = (at) => {
      asked.push(at);
      return { position: at ?? 0, time: 0, nodes: [], workloads: [], instances: [], services: [] };
    };
    expect(await json('/v1/view')).toMatchObject({ position: 0 });
    expect(await json('/v1/view?at=0')).toMatchObject({ position: 0 });
    expect(asked).toEqual([undefined, 0]);
    const beyond = await bench.get('/v1/view?at=99');
    expect(beyond.status).toBe(400);
    expect(await beyond.json()).toMatchObject({ code: 'POSITION_OUT_OF_RANGE' });
    const wrong = await bench.get('/v1/view?at=soon');
    expect(await wrong.json()).toMatchObject({ code: 'REQUEST_MALFORMED', message: expect.stringContaining('at') });
  });

  it('pages events both ways, filtered, and says where the next page begins', async () => {
    for (let n = 0; n < 30; n++) {
      bench.kernel.events.record({ stream: `node-n${n % 2}`, type: n % 3 === 0 ? 'GuestStarted' : 'GuestExited' });
    }
    const first = await bench.client.eventsPage({ limit: 12 });
    expect(first.events.map((event) => event.position)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(first).toMatchObject({ head: 29, next: 12 });
    const back = await bench.client.eventsPage({ direction: 'backwards', limit: 3 });
    expect(back.events.map((event) => event.position)).toEqual([29, 28, 27]);
    expect(back.next).toBe(26);
    const range = await bench.client.eventsPage({ from: 3, to: 6 });
    expect(range.events.map((event) => event.position)).toEqual([3, 4, 5, 6]);
    expect(range.next).toBeUndefined();
    const filtered = await bench.client.eventsPage({ types: ['GuestSt*'], streams: ['node-n0'] });
    expect(filtered.events.map((event) => event.position)).toEqual([0, 6, 12, 18, 24]);
    const all: number[] = [];
    for await (const event of bench.client.history({ limit: 25 })) all.push(event.position);
    expect(all).toHaveLength(25);
  });

  it('carries an event over the wire as CloudEvents 1.0 without loss', async () => {
    bench.kernel.events.record({
      stream: 'node-n1',
      type: 'GuestExited',
      data: { instance: 'web-1', exitCode: null },
      time: 1_700_000_000_123,
      meta: { causation: 5, correlation: 'c', traceparent: 't', schema: 2, producer: { plugin: 'p', generation: 3 } },
    });
    const page = (await json('/v1/events')) as { events: Record<string, unknown>[] };
    expect(page.events[0]).toEqual({
      specversion: '1.0',
      type: 'io.cloudos.GuestExited',
      source: '/cloudos/fake',
      id: expect.any(String),
      time: '2023-11-14T22:13:20.123Z',
      subject: 'node-n1',
      datacontenttype: 'application/json',
      position: 0,
      revision: 0,
      schemaversion: 2,
      producer: 'p',
      generation: 3,
      causation: 5,
      correlation: 'c',
      traceparent: 't',
      data: { instance: 'web-1', exitCode: null },
    });
    expect((await bench.client.eventsPage()).events[0]).toEqual(bench.kernel.events.events[0]);
  });

  it('checks a command, passes it on with its id and trace, and answers the result', async () => {
    const id = '0190a0b0-0000-7000-8000-000000000000';
    const scale = { slot: 'orchestrator', command: { type: 'Scale', workload: 'web', replicas: 5 } } as const;
    const result = await bench.client.command(scale, { id });
    expect(result).toMatchObject({ warnings: [] });
    expect(bench.kernel.commands).toEqual([{ command: scale, options: { id } }]);
    const wrong = await bench.post('/v1/commands', {
      slot: 'orchestrator',
      command: { type: 'Scale', workload: 'web', replicas: 'many' },
    });
    expect(wrong.status).toBe(400);
    expect(await wrong.json()).toMatchObject({
      code: 'COMMAND_INVALID',
      message: expect.stringMatching(/command\.replicas: .*given "many"/),
    });
    expect(bench.kernel.commands).toHaveLength(1);
  });

  it('passes the code of a refusal on', async () => {
    const { CloudosError } = await import('@cloudos/sdk');
    bench.kernel.onCommand = () => {
      throw new CloudosError('WORKLOAD_NOT_FOUND', 'no workload nope; there is default/web', { remedy: 'look' });
    };
    const remove = { slot: 'orchestrator', command: { type: 'Remove', name: 'nope' } } as const;
    await expect(bench.client.command(remove)).rejects.toMatchObject({
      code: 'WORKLOAD_NOT_FOUND',
      message: 'no workload nope; there is default/web',
      remedy: 'look',
    });
  });

  it('answers a defect with INTERNAL and goes on', async () => {
    bench.kernel.onView = () => {
      throw new TypeError('undefined is not a function');
    };
    const response = await bench.get('/v1/view');
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ code: 'INTERNAL' });
    expect((await bench.get('/v1/status')).status).toBe(200);
  });

  it('swaps', async () => {
    const result = await bench.client.swap({ slot: 'resources', plugin: 'resources-spread', config: { a: 1 } });
    expect(result).toMatchObject({ to: 'resources-spread', position: 7 });
    expect(bench.kernel.swaps).toEqual([{ slot: 'resources', plugin: 'resources-spread', config: { a: 1 } }]);
  });

  it('refuses a request whose header Host is none', async () => {
    for (const host of ['127.0.0.10.10.10', '1.2.3.4.5:80']) {
      const raw = new RawConnection(bench.gateway.port);
      raw.socket.write(
        `GET /v1/status HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${bench.gateway.token}\r\n\r\n`,
      );
      await until('it is answered', () => raw.received.includes('\r\n\r\n'));
      expect(raw.received.toString()).toMatch(/^HTTP\/1\.1 400 /);
      raw.socket.destroy();
    }
  });

  it('refuses malformed JSON and oversized bodies with codes of their own', async () => {
    const malformed = await bench.post('/v1/commands', '{"slot": orchestrator}');
    expect(malformed.status).toBe(400);
    expect(await malformed.json()).toMatchObject({
      code: 'REQUEST_MALFORMED',
      remedy: expect.stringContaining('JSON'),
    });
    const large = await bench.post('/v1/commands', 'x'.repeat(20_000));
    expect(large.status).toBe(413);
    expect(await large.json()).toMatchObject({
      code: 'REQUEST_TOO_LARGE',
      message: expect.stringContaining('10000 bytes'),
    });
    const chunked = await bench.get('/v1/commands', {
      method: 'POST',
      body: new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(4_000)),
      }),
      duplex: 'half',
    } as RequestInit);
    expect(chunked.status).toBe(413);
    expect((await bench.get('/v1/status')).status).toBe(200);
  });

  it('names the routes to whoever asks for another', async () => {
    const response = await bench.get('/v1/nothing');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      code: 'ROUTE_NOT_FOUND',
      message: expect.stringContaining('GET /v1/status'),
    });
    expect((await bench.post('/v1/status', {})).status).toBe(404);
  });

  it('streams the output of a guest as bytes and as lines that tell the streams apart', async () => {
    bench.kernel.output.set('web-1', [
      { stream: 'stdout', data: Buffer.from('one\n') },
      { stream: 'stderr', data: Buffer.from([0xff, 0x00]) },
    ]);
    const bytes = await bench.get('/v1/instances/web-1/logs');
    expect(Buffer.from(await bytes.arrayBuffer())).toEqual(Buffer.from([...Buffer.from('one\n'), 0xff, 0x00]));
    const chunks = [];
    for await (const chunk of bench.client.logs('web-1')) chunks.push(chunk);
    expect(chunks.map((chunk) => [chunk.stream, [...chunk.data]])).toEqual([
      ['stdout', [...Buffer.from('one\n')]],
      ['stderr', [0xff, 0x00]],
    ]);
    const tail = [];
    for await (const chunk of bench.client.logs('web-1', { tailLines: 1 })) tail.push(chunk);
    expect(tail).toHaveLength(1);
    for await (const chunk of bench.client.logs('web-1', { since: 1_700_000_000_000 })) tail.push(chunk);
    expect(bench.kernel.logRequests.at(-1)).toMatchObject({ since: 1_700_000_000_000, follow: false });
    expect(bench.kernel.logRequests.at(-2)).not.toHaveProperty('since');
    for (const since of ['-1', 'soon', '1.5']) {
      const wrong = await bench.get(`/v1/instances/web-1/logs?since=${since}`);
      expect(await wrong.json()).toMatchObject({
        code: 'REQUEST_MALFORMED',
        message: expect.stringContaining('since'),
      });
    }
    const missing = await bench.get('/v1/instances/nope/logs');
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ code: 'INSTANCE_NOT_FOUND' });
  });

  it('ends the following of a log when the client leaves', async () => {
    bench.kernel.output.set('web-1', [{ stream: 'stdout', data: Buffer.from('one\n') }]);
    const leave = new AbortController();
    const chunks = [];
    for await (const chunk of bench.client.logs('web-1', { follow: true, signal: leave.signal })) {
      chunks.push(chunk);
      expect(bench.kernel.openLogs).toBe(1);
      leave.abort();
    }
    expect(chunks).toHaveLength(1);
    await until('the kernel was told', () => bench.kernel.openLogs === 0);
  });
});

describe('the ways down', () => {
  it('streams the progress, then says that the kernel does not run any more', async () => {
    const ends: string[] = [];
    const bench = await openBench({ onEnd: (how) => ends.push(how) });
    const progress: string[] = [];
    await bench.client.down((text) => progress.push(text));
    expect(progress).toEqual(['removing 2 instances', 'removed']);
    await until('the end is told', () => ends.length > 0);
    expect(ends).toEqual(['down']);
    expect(bench.kernel.takenDown).toBe(true);
    await bench.close();
  });

  it('stops without taking anything down', async () => {
    const ends: string[] = [];
    const bench = await openBench({ onEnd: (how) => ends.push(how) });
    await bench.client.stop();
    await until('the end is told', () => ends.length > 0);
    expect(ends).toEqual(['stopped']);
    expect(bench.kernel.takenDown).toBe(false);
    await bench.close();
  });
});
