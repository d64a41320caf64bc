import { BatchDecoder, type ControlResponse } from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, type Listener, type ListenerOptions, openBench, until } from '../spec-kit.ts';
import type { FakeEvent } from '../testing/index.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

const record = (count: number, event: Partial<FakeEvent> = {}) =>
  bench.kernel.events.record(
    ...Array.from({ length: count }, () => ({ stream: 'kernel', type: 'StackAssembled', ...event })),
  );
const positions = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const listen = (query: string, options?: ListenerOptions, protocols?: string[]) =>
  bench.listen(`/v1/events?${query}`, options, protocols).opened();

/** A listener that speaks the control channel. */
class Peer {
  readonly #listener: Listener;
  #id = 0;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  get parsed(): Record<string, unknown>[] {
    return this.#listener.messages.map((text) => JSON.parse(text) as Record<string, unknown>);
  }

  get events(): number[] {
    return this.parsed.filter(({ position }) => position !== undefined).map(({ position }) => position as number);
  }

  control(name: string): Record<string, unknown>[] {
    return this.parsed.filter(({ type }) => type === `io.cloudos.control.${name}`);
  }

  async call(method: string, params?: unknown): Promise<ControlResponse> {
    const id = ++this.#id;
    this.#listener.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return this.answer(id);
  }

  async answer(id: number): Promise<ControlResponse> {
    const found = () => this.parsed.flat().find((message) => message.id === id && message.jsonrpc === '2.0');
    await until(`request ${id} is answered`, () => found() !== undefined);
    return found() as unknown as ControlResponse;
  }
}

describe('filters of the feed', () => {
  beforeEach(() => {
    bench.kernel.events.record(
      {
        stream: 'orchestrator',
        type: 'WorkloadDeclared',
        data: { workload: 'default/web' },
        meta: { correlation: 'c1' },
      },
      {
        stream: 'orchestrator',
        type: 'InstanceRequested',
        data: { workload: 'default/web', instance: 'web-1' },
        meta: { correlation: 'c1', causation: 0 },
      },
      { stream: 'resources', type: 'InstancePlaced', data: { instance: 'web-1', node: 'n1' }, meta: { causation: 1 } },
      { stream: 'node-n1', type: 'GuestStarted', data: { instance: 'web-1', node: 'n1' } },
      { stream: 'node-n2', type: 'GuestStarted', data: { instance: 'other', node: 'n2' } },
      { stream: 'kernel', type: 'NodeLost', data: { node: 'n1' } },
    );
  });

  it.each([
    ['types=Guest*', [3, 4]],
    ['streams=kernel,node-n1', [3, 5]],
    ['workload=web', [0, 1, 2, 3]],
    ['workload=default/none', []],
    ['node=n1', [2, 3, 5]],
    ['layer=orchestrator', [0, 1]],
    ['layer=node', [3, 4]],
    ['cause=c1', [0, 1]],
    ['cause=1', [0, 1, 2]],
    ['node=n1&types=Guest*', [3]],
  ])('%s selects in catch-up, live, over HTTP and in pages', async (query, expected) => {
    const all = await listen(`from=start&${query}`);
    bench.kernel.events.record({
      stream: 'node-n1',
      type: 'GuestExited',
      data: { instance: 'web-1', node: 'n1' },
      meta: { correlation: 'c1' },
    });
    const live = /layer=orch|kernel,/.test(query) ? query.includes('node-n1') : !/none/.test(query);
    const wanted = live ? [...expected, 6] : expected;
    await until('they have come', () => all.messages.length >= wanted.length);
    expect(all.positions()).toEqual(wanted);
    const page = (await (await bench.get(`/v1/events?${query}`)).json()) as { events: { position: number }[] };
    expect(page.events.map(({ position }) => position)).toEqual(wanted);
    const lines = await (await bench.get(`/v1/events?from=start&to=6&format=ndjson&${query}`)).text();
    expect(
      lines
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { position: number }).position),
    ).toEqual(wanted);
    all.socket.close();
  });

  it('learn of instances that are requested later', async () => {
    const web = await listen('workload=web');
    bench.kernel.events.record(
      { stream: 'orchestrator', type: 'InstanceRequested', data: { workload: 'default/web', instance: 'web-2' } },
      { stream: 'node-n2', type: 'GuestStarted', data: { instance: 'web-2', node: 'n2' } },
      { stream: 'node-n2', type: 'GuestStarted', data: { instance: 'other', node: 'n2' } },
      { stream: 'node-n2', type: 'GuestExited', data: { instance: 'web-2', node: 'n2' } },
    );
    await until('they have come', () => web.messages.length >= 3);
    expect(web.positions()).toEqual([6, 7, 9]);
    web.socket.close();
  });

  it('find a few events of some streams in a long log through the index of streams', async () => {
    record(40_000);
    bench.kernel.events.record({ stream: 'x-rare', type: 'x-rare-Seen' }, { stream: 'node-n1', type: 'GuestExited' });
    record(2_000);
    const rare = await listen('from=1&streams=x-rare,node-n1');
    await until('they have come', () => rare.messages.length >= 3);
    expect(rare.positions()).toEqual([3, 40_006, 40_007]);
    rare.socket.close();
  });

  it('are refused when they make no sense', async () => {
    for (const query of ['layer=attic', 'from=yesterday', 'cause=', 'credit=-1', 'subscription=..%2F']) {
      const refused = bench.listen(`/v1/events?${query}`);
      await until('it is refused', () => refused.refused !== undefined);
      expect(JSON.parse(refused.refused?.body ?? '')).toMatchObject({ code: 'REQUEST_MALFORMED' });
    }
  });
});

describe('where a feed begins and ends', () => {
  it('is a position, a time, or the range between two', async () => {
    for (let at = 0; at < 20; at++) record(1, { time: 1_700_000_000_000 + at * 1000 });
    const byTime = await listen('from=2023-11-14T22:13:25Z');
    const byMs = await listen('from=@1700000018000');
    const range = bench.listen('/v1/events?from=3&to=7');
    await until('they have come', () => byTime.messages.length >= 15 && range.closed !== undefined);
    expect(byTime.positions()).toEqual(positions(5, 19));
    expect(byMs.positions()).toEqual([18, 19]);
    expect(range.positions()).toEqual(positions(3, 7));
    expect(range.closed?.code).toBe(1000);
    for (const { socket } of [byTime, byMs]) socket.close();
  });

  it('says what retention has removed, and goes on with what is there', async () => {
    record(30);
    bench.kernel.events.trim(12);
    const bare = await listen('from=4');
    const sse = await bench.get('/v1/events?from=0&to=13&format=sse');
    await until('they have come', () => bare.messages.length >= 19);
    const [gap] = bare.messages.map((text) => JSON.parse(text) as Record<string, unknown>);
    expect(gap).toMatchObject({
      type: 'io.cloudos.control.Gap',
      data: { from: 4, to: 11, head: 29, snapshot: { method: 'snapshot', path: '/v1/view' } },
    });
    expect(bare.positions().slice(1)).toEqual(positions(12, 29));
    expect(await sse.text()).toMatch(/event: control\ndata: .*control.Gap.*\n\nid: 12\n/);
    expect((await bench.get('/v1/events?from=4')).status).toBe(410);
    bare.socket.close();
  });
});

describe('the control channel', () => {
  it('tells when it is live and how far the log is, if that is asked for', async () => {
    record(3);
    const listener = await listen('from=start&markers=true&heartbeatMs=100&types=Nothing');
    const peer = new Peer(listener);
    await until('a heartbeat comes', () => peer.control('Heartbeat').length > 0);
    record(2);
    await until('one tells the new head', () =>
      peer.control('Heartbeat').some(({ data }) => (data as { head: number }).head === 4),
    );
    expect(peer.control('Live')).toMatchObject([{ data: { position: 2, head: 2 } }]);
    expect(peer.control('Heartbeat').at(-1)).toMatchObject({ data: { position: 4, head: 4 } });
    listener.socket.close();
  });

  it('changes the filter at a position that it names', async () => {
    record(5);
    const listener = await listen('from=start&types=Nothing');
    const peer = new Peer(listener);
    expect(await peer.call('ping')).toMatchObject({ result: { position: 4, head: 4 } });
    expect(await peer.call('filter', { streams: ['kernel'] })).toMatchObject({ result: { from: 5 } });
    record(2);
    await until('they come', () => peer.events.length === 2);
    expect(peer.events).toEqual([5, 6]);
    listener.socket.close();
  });

  it('pauses, resumes, and sends no more than was granted', async () => {
    record(300);
    const listener = await listen('from=start&credit=10');
    const peer = new Peer(listener);
    await until('the first have come', () => peer.events.length === 10);
    expect(await peer.call('credit', { events: 100 })).toMatchObject({ result: { credit: 100 } });
    await until('more have come', () => peer.events.length === 110);
    expect(await peer.call('pause')).toMatchObject({ result: { from: 110 } });
    await peer.call('credit', { events: 1_000 });
    record(5);
    await peer.call('ping');
    expect(peer.events).toHaveLength(110);
    await peer.call('resume');
    await until('all have come', () => peer.events.length === 305);
    expect(peer.events).toEqual(positions(0, 304));
    listener.socket.close();
  });

  it('gives a snapshot, and appends', async () => {
    bench.kernel.onView = (at) => ({
      position: at ?? 9,
      time: 0,
      nodes: [],
      workloads: [],
      instances: [],
      services: [],
    });
    record(4);
    const listener = await listen('streams=x-audit');
    const peer = new Peer(listener);
    expect(await peer.call('snapshot', { position: 2 })).toMatchObject({
      result: { position: 2, view: { position: 2 } },
    });
    expect(await peer.call('snapshot', { position: 99 })).toMatchObject({
      error: { code: -32000, data: { code: 'POSITION_OUT_OF_RANGE' } },
    });
    const requests = [1, 2, 3].map((n) => ({
      jsonrpc: '2.0',
      id: 100 + n,
      method: 'append',
      params: { stream: 'x-audit', events: [{ type: 'x-audit-Seen', data: { n } }] },
    }));
    listener.socket.send(JSON.stringify(requests));
    expect(await peer.answer(103)).toMatchObject({ result: { first: 6, last: 6, revision: 2, duplicate: false } });
    await until('they come back', () => peer.events.length === 3);
    listener.socket.close();
  });

  it('answers what it does not understand as JSON-RPC says, and goes on', async () => {
    const listener = await listen('');
    const peer = new Peer(listener);
    const error = async (text: string) => {
      const before = listener.messages.length;
      listener.socket.send(text);
      await until('it is answered', () => listener.messages.length > before);
      return JSON.parse(listener.messages.at(-1) ?? '') as { id: unknown; error: { code: number } };
    };
    expect(await error('hello')).toMatchObject({ id: null, error: { code: -32700 } });
    expect(await error('[]')).toMatchObject({ id: null, error: { code: -32600 } });
    expect(await error('{"method":"ping","id":7}')).toMatchObject({ id: 7, error: { code: -32600 } });
    expect(await error('{"jsonrpc":"2.0","method":"fly","id":"a"}')).toMatchObject({
      id: 'a',
      error: { code: -32601 },
    });
    expect(await error('{"jsonrpc":"2.0","method":"credit","id":"b","params":{"events":"many"}}')).toMatchObject({
      error: { code: -32602 },
    });
    expect(await error('{"jsonrpc":"2.0","method":"acknowledge","id":"c","params":{"position":1}}')).toMatchObject({
      error: { code: -32000 },
    });
    listener.socket.send('{"jsonrpc":"2.0","method":"nonsense"}');
    expect(await peer.call('ping')).toMatchObject({ result: { head: -1 } });
    expect(listener.messages).toHaveLength(7);
    listener.socket.close();
  });
});

describe('the compact subprotocol', () => {
  it.each([[{ perMessageDeflate: false }], [{ perMessageDeflate: true }]])(
    'carries batches in binary and control in text messages (%j)',
    async (options) => {
      record(50, { data: { text: 'a long enough text to be compressed, ä and 🙂 in it; '.repeat(20) } });
      const listener = await listen('from=start&heartbeatMs=100', options, ['cloudos.batch.v1']);
      bench.kernel.events.record({ stream: 'node-n1', type: 'GuestStarted', meta: { causation: 3, correlation: 'c' } });
      const decoder = new BatchDecoder();
      const events: RecordedEvent[] = [];
      let last = -1;
      await until('all has come', () => {
        for (const message of listener.binary.splice(0)) {
          const batch = decoder.decode(message);
          events.push(...batch.events);
          last = batch.last;
        }
        return events.length >= 51 && listener.messages.some((text) => text.includes('"heartbeat"'));
      });
      expect(last).toBe(50);
      expect(listener.socket.extensions.includes('deflate')).toBe(options.perMessageDeflate);
      expect(events).toEqual(bench.kernel.events.events);
      listener.socket.close();
    },
  );
});

describe('the feed over plain HTTP', () => {
  it('goes on as Server-Sent Events after the last id, and as JSON lines', async () => {
    record(10);
    const sse = await bench.get('/v1/events?from=0&heartbeatMs=100', {
      headers: { accept: 'text/event-stream', 'last-event-id': '6' },
    });
    expect(sse.headers.get('content-type')).toBe('text/event-stream');
    const lines = await bench.get('/v1/events?from=8', { headers: { accept: 'application/x-ndjson' } });
    record(1);
    const read = async (response: Response, until: RegExp) => {
      let text = '';
      for await (const part of response.body as AsyncIterable<Uint8Array>) {
        text += Buffer.from(part).toString();
        if (until.test(text)) break;
      }
      return text;
    };
    const text = await read(sse, /Heartbeat/);
    expect([...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))).toEqual([7, 8, 9, 10]);
    expect(text).toMatch(/event: control\ndata: .*control.Live/);
    expect((await read(lines, /"position":10/)).split('\n').filter(Boolean)).toHaveLength(3);
    await until('the log is not followed any more', () => bench.kernel.events.subscriptions === 0);
  });
});

describe('a slow subscriber', () => {
  it('costs no more than its bound, and is closed only where that was configured', async () => {
    await bench.close();
    bench = await openBench({ bounds: { socketBufferMaxBytes: 64 * 1024, slowSubscriberMs: 100 } });
    const slow = await listen('from=start', { perMessageDeflate: false });
    const quiet = await listen('from=start&types=Nothing');
    slow.socket.pause();
    // More than the buffers of the system take.
    record(4_000, { data: { bytes: 'x'.repeat(20_000) } });
    await until('it was closed', () => bench.gateway.connections().subscriptions === 1);
    expect(bench.gateway.waitingBytes()).toBe(0);
    slow.socket.terminate();
    quiet.socket.close();
  });
});
