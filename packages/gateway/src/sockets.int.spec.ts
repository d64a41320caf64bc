import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, openBench, RawConnection, until } from './spec-kit.ts';

describe('event subscriptions', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench({ bounds: { socketBufferMaxBytes: 64 * 1024, frameMaxBytes: 1_000, socketsMax: 40 } });
  });
  afterEach(() => bench.close());

  const record = (count: number, data: unknown = {}) =>
    bench.kernel.events.record(
      ...Array.from({ length: count }, () => ({ stream: 'node-n1', type: 'GuestStarted', data })),
    );
  const path = '/v1/events?from=start';

  it('delivers a thousand events in order, those of the past and those to come', async () => {
    record(600);
    const listener = await bench.listen('/v1/events?from=start').opened();
    record(400);
    await until('1,000 events have come', () => listener.messages.length >= 1_000);
    expect(listener.positions()).toEqual(Array.from({ length: 1_000 }, (_, position) => position));
    listener.socket.close();
    await until('the subscription has ended', () => bench.kernel.events.subscriptions === 0);
    expect(bench.gateway.connections()).toEqual({ subscriptions: 0, execs: 0 });
  });

  it('begins now, or at a position, and filters', async () => {
    record(10);
    const now = await bench.listen('/v1/events').opened();
    const from = await bench.listen('/v1/events?from=8').opened();
    const filtered = await bench.listen('/v1/events?from=0&types=Guest*,X&streams=kernel').opened();
    bench.kernel.events.record({ stream: 'kernel', type: 'SwapStarted' }, { stream: 'kernel', type: 'GuestOdd' });
    await until('the events have come', () => filtered.messages.length === 1 && from.messages.length === 4);
    expect(now.positions()).toEqual([10, 11]);
    expect(from.positions()).toEqual([8, 9, 10, 11]);
    expect(filtered.positions()).toEqual([11]);
    for (const { socket } of [now, from, filtered]) socket.close();
  });

  it('refuses a position that the log has not reached', async () => {
    record(3);
    const listener = bench.listen('/v1/events?from=5');
    await until('the handshake is refused', () => listener.refused !== undefined);
    expect(listener.refused?.status).toBe(400);
    expect(JSON.parse(listener.refused?.body ?? '')).toMatchObject({ code: 'POSITION_OUT_OF_RANGE' });
    const wrong = bench.listen('/v1/events?from=soon');
    await until('the handshake is refused', () => wrong.refused !== undefined);
    expect(JSON.parse(wrong.refused?.body ?? '')).toMatchObject({ code: 'REQUEST_MALFORMED' });
  });

  it('reads the log no further for a subscriber that does not read, and drops nothing', async () => {
    const slow = await bench.listen('/v1/events?from=start').opened();
    slow.socket.pause();
    const events = 3_000;
    record(events, { bytes: 'x'.repeat(10_000) });
    const others = await bench.listen(`/v1/events?from=${events - 10}`).opened();
    await until('another subscriber is not held up', () => others.messages.length === 10);
    expect(bench.gateway.waitingBytes()).toBeLessThan(64 * 1024 + 256 * 1024);
    slow.socket.resume();
    await until('all of it has come', () => slow.messages.length >= events);
    expect(slow.positions()).toEqual(Array.from({ length: events }, (_, position) => position));
    slow.socket.close();
    others.socket.close();
    await until('the subscriptions have ended', () => bench.kernel.events.subscriptions === 0);
  });

  it('leaves no subscription behind when clients vanish, also with events on the way', async () => {
    record(2_000, { bytes: 'x'.repeat(1_000) });
    const connections = await Promise.all(Array.from({ length: 30 }, () => bench.raw(path)));
    expect(bench.gateway.connections().subscriptions).toBe(30);
    expect(bench.kernel.events.subscriptions).toBe(1);
    for (const { socket } of connections) socket.resetAndDestroy();
    await until('all subscriptions have ended', () => bench.kernel.events.subscriptions === 0);
    expect(bench.gateway.connections().subscriptions).toBe(0);
    expect((await bench.get('/v1/status')).status).toBe(200);
  });

  it('bounds the number of sockets', async () => {
    const open = await Promise.all(Array.from({ length: 40 }, () => bench.listen('/v1/events').opened()));
    const tooMany = bench.listen('/v1/events');
    await until('the handshake is refused', () => tooMany.refused !== undefined);
    expect(JSON.parse(tooMany.refused?.body ?? '')).toMatchObject({ code: 'GATEWAY_OVERLOADED' });
    for (const { socket } of open) socket.close();
    await until('all are closed', () => bench.gateway.connections().subscriptions === 0);
    const again = await bench.listen('/v1/events').opened();
    again.socket.close();
  });

  it.each([
    ['an unknown opcode', Buffer.from([0x83, 0x80, 1, 2, 3, 4]), 1002],
    ['an unmasked frame', Buffer.from([0x81, 0x02, 0x68, 0x69]), 1002],
    ['reserved bits', Buffer.from([0xf1, 0x80, 1, 2, 3, 4]), 1002],
    ['text that is not UTF-8', masked(0x81, Buffer.from([0xff, 0xfe])), 1007],
    ['a frame over the bound', masked(0x82, Buffer.alloc(2_000)), 1009],
    ['a fragmented ping', masked(0x09, Buffer.from('x')), 1002],
    ['a binary message where none is taken', masked(0x82, Buffer.from('hello')), 1003],
  ])('answers %s with a close code and goes on', async (_name, frame, code) => {
    const raw = await bench.raw(path);
    raw.socket.write(frame);
    await until('the close frame has come', () => raw.closeCode() !== undefined);
    expect(raw.closeCode()).toBe(code);
    raw.socket.destroy();
    await until('the subscription has ended', () => bench.kernel.events.subscriptions === 0);
    expect((await bench.get('/v1/status')).status).toBe(200);
  });

  it('answers a broken handshake and an unknown path without opening anything', async () => {
    const raw = new RawConnection(bench.gateway.port);
    raw.socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${bench.gateway.token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n`,
    );
    await until('the connection is closed', () => raw.ended);
    expect(raw.received.toString()).toContain('REQUEST_MALFORMED');
    const unknown = bench.listen('/v1/nothing');
    await until('the handshake is refused', () => unknown.refused !== undefined);
    expect(JSON.parse(unknown.refused?.body ?? '')).toMatchObject({ code: 'ROUTE_NOT_FOUND' });
    expect(bench.kernel.events.subscriptions).toBe(0);
  });

  it('closes its sockets when the kernel stops, and when the gateway does', async () => {
    const first = await bench.listen('/v1/events').opened();
    await bench.kernel.stop();
    await until('the socket is closed', () => first.closed !== undefined);
    expect(first.closed).toEqual({ code: 1001, reason: 'the kernel stops' });
    const started = Date.now();
    await bench.gateway.close();
    expect(Date.now() - started).toBeLessThan(4_500);
  });

  it('ends a socket whose peer is gone without a word', async () => {
    await bench.close();
    bench = await openBench({ bounds: { heartbeatMs: 20 } });
    const dead = await bench.raw(path);
    const alive = await bench.listen('/v1/events').opened();
    await until('the silent one was ended', () => dead.ended);
    expect(bench.gateway.connections().subscriptions).toBe(1);
    alive.socket.close();
  });
});

/** A client frame with a mask of zeros. */
function masked(firstByte: number, payload: Buffer): Buffer {
  const length =
    payload.length < 126
      ? Buffer.from([0x80 | payload.length])
      : Buffer.from([0xfe, payload.length >> 8, payload.length & 255]);
  return Buffer.concat([Buffer.from([firstByte]), length, Buffer.alloc(4), payload]);
}
