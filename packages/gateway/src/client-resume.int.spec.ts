import { CloudosClient, type WebSocketConstructor } from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { startGateway } from './gateway.ts';
import { type Bench, openBench, until } from './spec-kit.ts';

describe('the client against a gateway that comes and goes', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  const record = (count: number) =>
    bench.kernel.events.record(...Array.from({ length: count }, () => ({ stream: 'kernel', type: 'StackAssembled' })));
  const backoff = { initialMs: 5, maxMs: 50 };

  it('goes on where it was when the gateway is restarted, each event once and in order', async () => {
    const { port } = bench.gateway;
    const positions: number[] = [];
    const states: boolean[] = [];
    const onConnection = ({ open }: { open: boolean }) => states.push(open);
    const subscription = bench.client
      .events({ from: 'start', backoff, onConnection })
      .subscribe((event) => positions.push(event.position));
    record(5);
    await until('the first have come', () => positions.length === 5);
    await bench.gateway.close();
    record(7);
    const again = await startGateway({ kernel: bench.kernel, stateDir: bench.stateDir, port });
    await until('the others have come', () => positions.length === 12);
    expect(positions).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(states[0]).toBe(true);
    expect(states).toContain(false);
    subscription.unsubscribe();
    await until('its subscription has ended', () => bench.kernel.events.subscriptions === 0);
    await again.close();
  });

  it('means by now the moment of the call, also when the first connection fails', async () => {
    record(3);
    const positions: number[] = [];
    const subscription = bench.client.events({ backoff }).subscribe((event) => positions.push(event.position));
    await until('it is connected', () => bench.kernel.events.subscriptions === 1);
    record(2);
    await until('they have come', () => positions.length === 2);
    expect(positions).toEqual([3, 4]);
    subscription.unsubscribe();
  });

  it.each(['compact', 'standard'] as const)(
    'takes no more ahead of a slow loop than its bound (%s)',
    async (protocol) => {
      record(2_000);
      const positions: number[] = [];
      for await (const event of bench.client.events({ from: 'start', bufferMax: 100, backoff, protocol })) {
        positions.push(event.position);
        // The server answers while it is not allowed to send more.
        if (positions.length % 500 === 1) expect((await bench.client.status()).head).toBe(1_999);
        if (event.position === 1_999) break;
      }
      expect(positions).toEqual(Array.from({ length: 2_000 }, (_, position) => position));
      await until('its subscription has ended', () => bench.kernel.events.subscriptions === 0);
    },
  );

  it('hands each event to a consumer once, whenever the consumer or the gateway dies', async () => {
    const { port } = bench.gateway;
    const stored = { position: undefined as number | undefined, seen: [] as number[] };
    let fails = 3;
    const consumer = {
      load: () => stored.position,
      handle: (events: readonly RecordedEvent[], position: number) => {
        if (fails-- > 0) throw new Error('the database is away');
        stored.seen.push(...events.map((event) => event.position));
        stored.position = position;
      },
    };
    record(500);
    for (let run = 0; run < 3; run++) {
      await expect(bench.client.consume(consumer, { backoff })).rejects.toThrow('the database is away');
    }
    const stop = new AbortController();
    const done = bench.client.consume(consumer, { backoff, batchMax: 7, bufferMax: 50, signal: stop.signal });
    await until('some have taken effect', () => stored.seen.length > 100);
    await bench.gateway.close();
    record(250);
    const again = await startGateway({ kernel: bench.kernel, stateDir: bench.stateDir, port });
    await until('all have taken effect', () => stored.seen.length >= 750);
    stop.abort();
    await done;
    expect(stored.seen).toEqual(Array.from({ length: 750 }, (_, position) => position));
    await again.close();
  });

  it('goes over a gap only where that was allowed', async () => {
    record(20);
    bench.kernel.events.trim(7);
    await expect(bench.client.consume({ load: () => 2, handle: () => {} }, { backoff })).rejects.toMatchObject({
      code: 'LOG_TRIMMED',
      details: { from: 3, to: 6 },
    });
    const gaps: unknown[] = [];
    const positions: number[] = [];
    for await (const { position } of bench.client.events({
      from: 2,
      to: 15,
      backoff,
      onGap: (gap) => gaps.push(gap),
    })) {
      positions.push(position);
    }
    expect(gaps).toMatchObject([{ from: 2, to: 6, head: 19 }]);
    expect(positions).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15]);
  });

  it('appends many at a time, each with an id of its own', async () => {
    const appender = bench.client.appender({ backoff });
    const outcomes = await Promise.all(
      Array.from({ length: 300 }, (_, n) => appender.append('x-audit', [{ type: 'x-audit-Seen', data: { n } }])),
    );
    expect(outcomes.map(({ first }) => first)).toEqual(Array.from({ length: 300 }, (_, n) => n));
    await expect(appender.append('orchestrator', [{ type: 'x-audit-Seen' }])).rejects.toMatchObject({
      code: 'SCOPE_MISSING',
    });
    expect(new Set(bench.kernel.events.events.map(({ id }) => id)).size).toBe(300);
    appender.close();
    await expect(appender.append('x-audit', [])).rejects.toMatchObject({ code: 'KERNEL_UNREACHABLE' });
  });

  it('fails at once when no retry can help', async () => {
    const failure = async (events: AsyncIterable<RecordedEvent>) => {
      for await (const _ of events) break;
    };
    const stranger = new CloudosClient({
      url: bench.gateway.url,
      token: 'wrong',
      webSocket: WebSocket as unknown as WebSocketConstructor,
    });
    await expect(failure(stranger.events({ from: 'start' }))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await expect(failure(bench.client.events({ from: 77 }))).rejects.toMatchObject({ code: 'POSITION_OUT_OF_RANGE' });
  });

  it('gives up after a bounded number of attempts', async () => {
    await bench.gateway.close();
    const retries: number[] = [];
    const events = bench.client.events({
      from: 'start',
      backoff: { initialMs: 1, maxMs: 4 },
      retriesMax: 4,
      onConnection: ({ retryInMs }) => retries.push(retryInMs ?? 0),
    });
    const failure = new Promise((_, reject) => events.subscribe({ error: reject }));
    await expect(failure).rejects.toMatchObject({ code: 'KERNEL_UNREACHABLE', message: expect.stringContaining('4') });
    expect(retries).toHaveLength(4);
  });

  it('reports a gateway that is not there, and one that does not answer', async () => {
    await bench.gateway.close();
    await expect(bench.client.status()).rejects.toMatchObject({ code: 'KERNEL_UNREACHABLE' });
    const silent = new CloudosClient({
      url: 'http://127.0.0.1:1',
      token: 't',
      fetch: (_url, init) =>
        new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(new Error('aborted')))),
    });
    await expect(silent.status(20)).rejects.toMatchObject({ code: 'TIMED_OUT' });
  });
});
