import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, type ListenerOptions, openBench, until } from '../spec-kit.ts';
import { ControlPeer } from './control-peer.fixture.ts';

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

const record = (count: number) =>
  bench.kernel.events.record(...Array.from({ length: count }, () => ({ stream: 'kernel', type: 'StackAssembled' })));
const positions = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const listen = (query: string, options?: ListenerOptions) => bench.listen(`/v1/events?${query}`, options).opened();

describe('the control channel', () => {
  it('tells when it is live and how far the log is, if that is asked for', async () => {
    record(3);
    const listener = await listen('from=start&markers=true&heartbeatMs=100&types=Nothing');
    const peer = new ControlPeer(listener);
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
    const peer = new ControlPeer(listener);
    expect(await peer.call('ping')).toMatchObject({ result: { position: 4, head: 4 } });
    expect(await peer.call('filter', { streams: ['kernel'] })).toMatchObject({ result: { from: 5 } });
    record(2);
    await until('they come', () => peer.events.length === 2);
    expect(peer.events).toEqual([5, 6]);
    listener.socket.close();
  });

  it('sends nothing that was being read when it was paused', async () => {
    record(50);
    const { events } = bench.kernel;
    const read = events.read.bind(events);
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    let reads = 0;
    events.read = async function* (range) {
      reads++;
      await gate;
      yield* read(range);
    };
    const listener = await listen('from=start');
    const peer = new ControlPeer(listener);
    await until('it is read for', () => reads > 0);
    expect(await peer.call('pause')).toMatchObject({ result: { from: 0 } });
    go();
    for (let n = 0; n < 5; n++) await peer.call('ping');
    expect(peer.events).toEqual([]);
    expect(await peer.call('resume')).toMatchObject({ result: { from: 0 } });
    await until('all come', () => peer.events.length === 50);
    expect(peer.events).toEqual(positions(0, 49));
    listener.socket.close();
  });

  it('tells of what was removed while nothing was granted', async () => {
    record(30);
    const listener = await listen('from=start&credit=5');
    const peer = new ControlPeer(listener);
    await until('it has what was granted', () => peer.events.length === 5);
    bench.kernel.events.trim(12);
    await peer.call('credit', { events: 100 });
    await until('the rest comes', () => peer.events.length === 23);
    expect(peer.control('Gap')).toMatchObject([{ data: { from: 5, to: 11, head: 29 } }]);
    expect(peer.events).toEqual([...positions(0, 4), ...positions(12, 29)]);
    listener.socket.close();
  });

  it('keeps to what a token may read, whatever the filter is changed to', async () => {
    bench.kernel.events.record({ stream: 'node-n1', type: 'GuestStarted' }, { stream: 'node-n1', type: 'NodeJoined' });
    const events = { types: ['Guest*'] };
    const { token } = await bench.client.createToken({ name: 'guests', scopes: ['events:read'], events });
    const listener = await listen('from=start', { headers: { authorization: `Bearer ${token}` } });
    const peer = new ControlPeer(listener);
    await until('it has its own', () => peer.events.length === 1);
    const scope = { error: { data: { code: 'SCOPE_MISSING' } } };
    expect(await peer.call('filter', { types: ['NodeJoined'] })).toMatchObject(scope);
    expect(await peer.call('snapshot')).toMatchObject(scope);
    expect(await peer.call('append', { stream: 'x-a', events: [{ type: 'x-a-B' }] })).toMatchObject(scope);
    expect(await peer.call('filter', { streams: ['node-n1'] })).toMatchObject({ result: { from: 2 } });
    bench.kernel.events.record({ stream: 'node-n1', type: 'NodeJoined' }, { stream: 'node-n1', type: 'GuestExited' });
    await until('it has its own', () => peer.events.length === 2);
    expect(peer.events).toEqual([0, 3]);
    listener.socket.close();
  });

  it('pauses, resumes, and sends no more than was granted', async () => {
    record(300);
    const listener = await listen('from=start&credit=10');
    const peer = new ControlPeer(listener);
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
    const peer = new ControlPeer(listener);
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

  it('makes many appends for one request, and says of each what became of it', async () => {
    const listener = await listen('streams=x-audit');
    const peer = new ControlPeer(listener);
    const row = (n: number) => ['x-audit', [['x-audit-Seen', { n }]]];
    const appends = [row(0), ['x-audit', []], 'nonsense', ['kernel', [['x-audit-Seen']]], [...row(1), -7], row(2)];
    const answer = await peer.call('appendEach', { appends });
    expect(answer).toMatchObject({
      result: {
        outcomes: [
          [0, 0, 0, false],
          { code: -32000, data: { code: 'REQUEST_MALFORMED' } },
          { code: -32000, data: { code: 'REQUEST_MALFORMED' } },
          { code: -32000, data: { code: 'SCOPE_MISSING' } },
          { code: -32000, data: { code: 'REQUEST_MALFORMED' } },
          [1, 1, 1, false],
        ],
      },
    });
    for (const params of [undefined, {}, { appends: [] }, { appends: Array(4_097).fill(row(3)) }]) {
      expect(await peer.call('appendEach', params)).toMatchObject({ error: { code: -32602 } });
    }
    listener.socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'appendEach', params: { appends: [row(3)] } }));
    await until('they come back', () => peer.events.length === 3);
    expect(await peer.call('ping')).toMatchObject({ result: { head: 2 } });
    listener.socket.close();
  });

  it('answers what it does not understand as JSON-RPC says, and goes on', async () => {
    const listener = await listen('');
    const peer = new ControlPeer(listener);
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
