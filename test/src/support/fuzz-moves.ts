import { deflateRawSync } from 'node:zlib';
import type { SeededRandom } from '@cloudos/testing';
import { frame, RawPeer } from './raw-peer.ts';

export interface FuzzTarget {
  readonly port: number;
  readonly token: string;
}

/** One thing that a broken or hostile client does. Resolves when the server is done with it. Throws if it is not right. */
export type FuzzMove = (target: FuzzTarget, random: SeededRandom) => Promise<void>;

const text = (value: string) => Buffer.from(value);
const bytes = (random: SeededRandom, count: number) =>
  Buffer.from(Array.from({ length: count }, () => random.int(256)));
const deflate = ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'];
/** Unfolds to 64 MiB of zeros. */
const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024), { level: 9 });

const seedRequests = [
  '{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}',
  '{"jsonrpc":"2.0","id":2,"method":"filter","params":{"types":["Guest*"],"streams":["node-*"]}}',
  '{"jsonrpc":"2.0","id":3,"method":"credit","params":{"events":10}}',
  '{"jsonrpc":"2.0","id":4,"method":"snapshot","params":{"position":3}}',
  '[{"jsonrpc":"2.0","id":5,"method":"pause"},{"jsonrpc":"2.0","id":6,"method":"resume"}]',
];
const seedRequest = (token: string) =>
  `GET /v1/view?at=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nContent-Length: 0\r\n\r\n`;

/** Changes, removes, repeats or inserts a few bytes. */
function mutated(random: SeededRandom, given: string): Buffer {
  let data = Buffer.from(given);
  for (let n = random.between(1, 6); n > 0; n--) {
    const at = random.int(data.length);
    const length = random.between(1, 12);
    const part = data.subarray(at, at + length);
    const put = random.pick([
      Buffer.alloc(0),
      bytes(random, length),
      Buffer.concat([part, part]),
      Buffer.alloc(300, part),
    ]);
    data = Buffer.concat([data.subarray(0, at), put, data.subarray(at + length)]);
    if (data.length === 0) data = Buffer.from(' ');
  }
  return data;
}

async function events({ port, token }: FuzzTarget, headers: readonly string[] = []): Promise<RawPeer> {
  const peer = new RawPeer(port);
  const status = await peer.upgrade('/v1/events?from=start', token, headers);
  if (status !== 101) throw new Error(`the handshake was answered with ${status}`);
  return peer;
}

async function expectClose(peer: RawPeer, codes: readonly number[]): Promise<void> {
  await peer.until('a close frame', () => peer.closeCode() !== undefined);
  const code = peer.closeCode();
  peer.socket.destroy();
  if (code === undefined || !codes.includes(code))
    throw new Error(`closed with ${code}, expected ${codes.join(' or ')}`);
}

/** Leaves in one of the ways in which a connection ends. */
async function leave(peer: RawPeer, random: SeededRandom): Promise<void> {
  const way = random.int(3);
  if (way === 0) peer.socket.resetAndDestroy();
  else if (way === 1) peer.socket.destroy();
  else peer.socket.end();
  await peer.ended();
}

export const fuzzMoves: Readonly<Record<string, FuzzMove>> = {
  'bytes of no protocol': async ({ port }, random) => {
    const peer = new RawPeer(port);
    peer.write(Buffer.concat([bytes(random, random.between(1, 4_000)), text('\r\n\r\n')]));
    await leave(peer, random);
  },
  'a TLS greeting in the clear': async ({ port }) => {
    const peer = new RawPeer(port);
    peer.write(Buffer.from('16030100c8010000c40303', 'hex'));
    await peer.ended();
  },
  'a request with bytes changed': async ({ port, token }, random) => {
    const peer = new RawPeer(port);
    peer.write(Buffer.concat([mutated(random, seedRequest(token)), text('\r\n\r\n')]));
    await leave(peer, random);
  },
  'headers that are too large': async ({ port, token }) => {
    const peer = new RawPeer(port);
    peer.write(`GET /v1/status HTTP/1.1\r\nAuthorization: Bearer ${token}\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`);
    await peer.ended();
  },
  'a body that is not as long as it says': async ({ port, token }, random) => {
    const peer = new RawPeer(port);
    const head = `POST /v1/commands HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n`;
    peer.write(
      random.chance(0.5)
        ? `${head}Content-Length: 5000\r\n\r\n{"slot"`
        : `${head}Transfer-Encoding: chunked\r\n\r\n${random.pick(['zz\r\n', '-1\r\n', 'ffffffffffffffff\r\n', '5\r\nabc'])}`,
    );
    await leave(peer, random);
  },
  'a handshake with the wrong subprotocols': async ({ port, token }, random) => {
    const peer = new RawPeer(port);
    const offered = random.pick([
      'mqtt',
      'cloudevents.xml',
      'cloudos.bearer.x',
      'a, b, c',
      'a b',
      ',,',
      '\u0001',
      'x'.repeat(5_000),
    ]);
    const status = await peer.upgrade('/v1/events', token, [`Sec-WebSocket-Protocol: ${offered}`]);
    if (status !== 400) throw new Error(`${offered.slice(0, 20)} was answered with ${status}`);
    await peer.ended();
  },
  'frames of random bytes': async (target, random) => {
    const peer = await events(target, random.chance(0.5) ? deflate : []);
    for (let n = random.between(1, 5); n > 0; n--) peer.write(bytes(random, random.between(1, 600)));
    await leave(peer, random);
  },
  'a frame that breaks the protocol': async (target, random) => {
    const peer = await events(target);
    const [broken, codes] = random.pick<readonly [Uint8Array, readonly number[]]>([
      [frame(0x83, text('opcode')), [1002]],
      [frame(0xf1, text('reserved bits')), [1002]],
      [Buffer.from([0x81, 0x02, 0x68, 0x69]), [1002]],
      [frame(0x09, text('a ping in fragments')), [1002]],
      [frame(0x89, bytes(random, 126)), [1002]],
      [frame(0x80, text('a continuation of nothing')), [1002]],
      [Buffer.concat([frame(0x01, text('{"a')), frame(0x81, text('text within a text'))]), [1002]],
      [frame(0x88, Buffer.from([0x03, 0xec])), [1002]],
      [frame(0x88, Buffer.from([0x03])), [1002]],
      [frame(0x81, Buffer.from([0xff, 0xfe])), [1007]],
      [frame(0x82, bytes(random, 10)), [1003]],
      [frame(0x81, Buffer.alloc(0), 2 ** 40), [1009]],
      [frame(0x81, Buffer.alloc(0), 2_000_000), [1009]],
    ]);
    peer.write(broken);
    await expectClose(peer, codes);
  },
  'a message in endless fragments': async (target) => {
    const peer = await events(target);
    peer.write(frame(0x01, text('{"jsonrpc":"')));
    const part = Buffer.concat(Array.from({ length: 64 }, () => frame(0x00, Buffer.alloc(1_000, 'x'))));
    for (let n = 0; n < 20 && peer.closeCode() === undefined && !peer.closed; n++) {
      peer.write(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expectClose(peer, [1008, 1009]);
  },
  'a compressed bomb': async (target) => {
    const peer = await events(target, deflate);
    peer.write(frame(0xc1, bomb));
    await expectClose(peer, [1009]);
  },
  'compressed bytes that are none': async (target, random) => {
    const peer = await events(target, deflate);
    peer.write(frame(0xc1, Buffer.concat([Buffer.from([0xff]), bytes(random, 200)])));
    await expectClose(peer, [1007, 1002]);
  },
  'JSON-RPC with bytes changed': async (target, random) => {
    const peer = await events(target);
    for (let n = 0; n < 8; n++) {
      const message = mutated(random, random.pick(seedRequests))
        .toString('latin1')
        .replaceAll(/[^\x20-\x7e]/g, '?');
      peer.write(frame(0x81, text(message)));
    }
    // The connection survives: a proper request is answered behind them.
    peer.write(frame(0x81, text('{"jsonrpc":"2.0","id":"last","method":"ping"}')));
    await peer.until('the answer to a proper request', () => peer.received.includes('"id":"last"'));
    if (!peer.received.includes('"id":"last"')) throw new Error('the connection did not survive malformed JSON-RPC');
    await leave(peer, random);
  },
  'an exec with random frames': async ({ port, token }, random) => {
    const peer = new RawPeer(port);
    await peer.upgrade(`/v1/instances/none/exec?command=${random.int(9)}`, token);
    for (let n = 0; n < 3; n++) peer.write(frame(random.pick([0x81, 0x82]), bytes(random, random.between(0, 300))));
    await leave(peer, random);
  },
  'a feed over plain HTTP that is left': async ({ port, token }, random) => {
    const peer = new RawPeer(port);
    const query = `from=start&markers=true&heartbeatMs=100&format=${random.pick(['ndjson', 'sse'])}`;
    peer.write(`GET /v1/events?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    const sign = random.pick(['200 OK', 'control.Heartbeat']);
    await peer.until(sign, () => peer.received.includes(sign));
    if (!peer.received.includes(sign)) throw new Error(`no ${sign} in ${peer.received.subarray(0, 300)}`);
    await leave(peer, random);
  },
  'a named subscription that is left': async ({ port, token }, random) => {
    const peer = new RawPeer(port);
    const query = `subscription=fuzzed-${random.int(3)}&from=start&markers=true&heartbeatMs=100`;
    const status = await peer.upgrade(`/v1/events?${query}`, token);
    if (status !== 101) throw new Error(`the handshake was answered with ${status}`);
    if (random.chance(0.5)) {
      const acknowledge = { jsonrpc: '2.0', id: 'done', method: 'acknowledge', params: { position: random.int(40) } };
      peer.write(frame(0x81, text(JSON.stringify(acknowledge))));
      await peer.until('the answer', () => peer.received.includes('"id":"done"'));
    }
    await leave(peer, random);
  },
  'a peer that leaves in the middle': async (target, random) => {
    const peer = random.chance(0.5) ? await events(target) : new RawPeer(target.port);
    if (random.chance(0.5)) peer.write('GET /v1/ev');
    await leave(peer, random);
  },
};
