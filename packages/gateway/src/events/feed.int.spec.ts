import { readFile } from 'node:fs/promises';
import { BatchDecoder } from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, type ListenerOptions, openBench, until } from '../spec-kit.ts';
import type { FakeEvent } from '../testing/index.ts';
import { ControlPeer } from './control-peer.fixture.ts';
import { pageScanMax } from './feed-routes.ts';

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

  it('know of an instance that was requested while nobody could take it, and while the filter was made', async () => {
    const requested = (instance: string) => ({
      stream: 'orchestrator',
      type: 'InstanceRequested',
      data: { workload: 'default/web', instance },
    });
    const started = (instance: string) => ({ stream: 'node-n1', type: 'GuestStarted', data: { instance, node: 'n1' } });
    // Its group is not made anything ready for: it may be sent nothing.
    const idle = await listen('from=now&workload=web&credit=0');
    bench.kernel.events.record(requested('web-2'));
    const late = await listen('from=now&workload=web');
    bench.kernel.events.record(started('web-2'));
    await until('it comes', () => late.messages.length > 0);
    expect(late.positions()).toEqual([7]);
    // The filter of a subscriber that is level is changed, and something is appended in the middle of it.
    const listener = await listen('from=now&types=Nothing');
    const peer = new ControlPeer(listener);
    const { events } = bench.kernel;
    const read = events.read.bind(events);
    events.read = async function* (range) {
      yield* read(range);
      events.read = read;
      events.record(requested('api-1'));
      events.record({ ...requested('api-2'), data: { workload: 'default/api', instance: 'api-2' } });
    };
    expect(await peer.call('filter', { workload: 'api' })).toMatchObject({ result: { from: 10 } });
    bench.kernel.events.record(started('api-2'), started('web-2'));
    await until('it comes', () => peer.events.length > 0);
    expect(peer.events).toEqual([10]);
    for (const { socket } of [idle, late, listener]) socket.close();
    await until('the log is not followed any more', () => bench.kernel.events.subscriptions === 0);
  });

  it('let one page follow the other where the log is scanned for them in parts', async () => {
    const filler = Array.from({ length: 4_096 }, () => ({ stream: 'kernel', type: 'StackAssembled' }));
    while (bench.kernel.events.head() < pageScanMax) bench.kernel.events.record(...filler);
    const head = bench.kernel.events.head();
    const web = { instance: 'web-1', node: 'n1' };
    // At the borders of what one page passes over, in both directions.
    for (const at of [pageScanMax, pageScanMax + 1, head - pageScanMax, head - pageScanMax - 1]) {
      const event = bench.kernel.events.events[at];
      if (event) bench.kernel.events.events[at] = { ...event, type: 'GuestStarted', data: web };
    }
    const all = [0, 1, 2, 3, head - pageScanMax - 1, head - pageScanMax, pageScanMax, pageScanMax + 1];
    const paged = async (direction: 'forwards' | 'backwards') => {
      const found: number[] = [];
      for await (const { position } of bench.client.history({ workload: 'web', direction })) found.push(position);
      return found;
    };
    expect(await paged('forwards')).toEqual(all);
    expect(await paged('backwards')).toEqual([...all].reverse());
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
    for (const query of ['layer=attic', 'from=yesterday', 'cause=', 'credit=-1', 'subscription=..%2F', 'form=0']) {
      const refused = bench.listen(`/v1/events?${query}`);
      await until('it is refused', () => refused.refused !== undefined);
      expect(JSON.parse(refused.refused?.body ?? '')).toMatchObject({ code: 'REQUEST_MALFORMED' });
      if (query === 'from=yesterday')
        expect(refused.refused?.body).toContain('expected a position, now, start, a time');
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

describe('the compact subprotocol', () => {
  it('is agreed on by its version, beside those that are not spoken here', async () => {
    for (const [offered, spoken] of [
      [['cloudos.batch.v2', 'cloudos.batch.v1', 'cloudevents.json'], 'cloudos.batch.v1'],
      [['cloudos.batch.v2', 'cloudevents.json'], 'cloudevents.json'],
    ] as const) {
      const listener = await listen('', {}, [...offered]);
      expect(listener.socket.protocol).toBe(spoken);
      listener.socket.close();
    }
    const refused = bench.listen('/v1/events', {}, ['cloudos.batch.v2']);
    await until('it is refused', () => refused.refused !== undefined);
    expect(JSON.parse(refused.refused?.body ?? '')).toMatchObject({ code: 'SUBPROTOCOL_UNSUPPORTED' });
  });

  it('goes over to another filter and back, in whatever form its batches are', async () => {
    record(20);
    const listener = await listen('from=start', {}, ['cloudos.batch.v1']);
    const decoder = new BatchDecoder();
    const got: number[] = [];
    const taken = () => {
      for (const message of listener.binary.splice(0)) {
        got.push(...decoder.decode(message).events.map(({ position }) => position));
      }
      return got.length;
    };
    const filter = async (params: object, count: number) => {
      listener.socket.send(JSON.stringify({ jsonrpc: '2.0', id: count, method: 'filter', params }));
      await until('it is answered', () =>
        listener.messages.some((text) => text.startsWith(`{"jsonrpc":"2.0","id":${count}`)),
      );
      bench.kernel.events.record(
        { stream: 'node-n1', type: 'GuestStarted' },
        { stream: 'kernel', type: 'SwapStarted' },
      );
      await until('they come', () => taken() >= count);
    };
    await until('the past comes', () => taken() >= 20);
    await filter({ types: ['Guest*'] }, 21);
    await filter({}, 23);
    expect(got).toEqual([...positions(0, 20), 22, 23]);
    listener.socket.close();
  });

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
  it.runIf(process.platform === 'linux')('finds out by TCP itself that a quiet peer is gone', async () => {
    const reader = await bench.get('/v1/events?from=now&format=ndjson');
    /** The timers of the gateway's own side of connections: kind, and 1/100 s until it runs out (proc_net_tcp). */
    const timers = async () =>
      (await readFile('/proc/net/tcp', 'utf8'))
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .filter(
          ([, local = '', , state]) =>
            state === '01' && Number.parseInt(local.split(':')[1] ?? '', 16) === bench.gateway.port,
        )
        .map((fields) => (fields[5] ?? '').split(':').map((part) => Number.parseInt(part, 16)));
    // Keep-alive, and not one of the others, which are about to run out.
    const isKept = ([kind = 0, hundredths = 0]: readonly number[]) => kind === 2 && hundredths > 1_000;
    await expect.poll(async () => (await timers()).some(isKept)).toBe(true);
    await reader.body?.cancel();
  });

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
    expect([...text.matchAll(/^id: (\d+)\ndata/gm)].map(([, id]) => Number(id))).toEqual([7, 8, 9, 10]);
    expect(text).toMatch(/event: control\ndata: .*control.Live/);
    expect((await read(lines, /"position":10/)).split('\n').filter(Boolean)).toHaveLength(3);
    await until('the log is not followed any more', () => bench.kernel.events.subscriptions === 0);
  });

  it.each([0, 3])('misses nothing where a quiet EventSource lost its connection (a log of %i)', async (events) => {
    record(events);
    const connect = (headers: Record<string, string> = {}) => bench.get('/v1/events?format=sse', { headers });
    const read = async (response: Response, wanted: RegExp) => {
      let text = '';
      for await (const part of response.body as AsyncIterable<Uint8Array>) {
        text += Buffer.from(part).toString();
        const found = wanted.exec(text)?.[1];
        if (found !== undefined) return found;
      }
      throw new Error(`the feed ended: ${text}`);
    };
    // As its standard has it: the last id, of whatever kind of event (HTML, 9.2.6).
    const lastId = await read(await connect(), /^id: (.+)\nevent: control\ndata: .*control\.Live/m);
    record(1);
    const again = await connect({ 'last-event-id': lastId });
    expect(await read(again, /"position":(\d+),"revision"/)).toBe(String(events));
  });

  it('does not begin elsewhere for a last id that is none', async () => {
    record(3);
    for (const id of ['yesterday', '1.5', '99999999999999999999']) {
      const refused = await bench.get('/v1/events?format=sse', { headers: { 'last-event-id': id } });
      expect([refused.status, await refused.json()]).toMatchObject([400, { code: 'REQUEST_MALFORMED' }]);
    }
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
    await until('it is behind', () => bench.gateway.waitingBytes() > 0);
    await until('it is given up', () => bench.gateway.waitingBytes() === 0);
    // It learns of it when it reads on.
    slow.socket.resume();
    await until('it is told why', () => slow.closed !== undefined);
    expect(slow.closed).toEqual({ code: 4008, reason: 'took nothing for 100 ms' });
    await until('the other one is there', () => bench.gateway.connections().subscriptions === 1);
    quiet.socket.close();
  });
});
