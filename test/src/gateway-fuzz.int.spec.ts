import { SeededRandom } from '@cloudos/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fuzzMoves } from './support/fuzz-moves.ts';
import { GatewayServer, type Usage } from './support/gateway-server.ts';
import { until } from './support/kernel-process.ts';
import { RawPeer } from './support/raw-peer.ts';

const seed = Number(process.env.CLOUDOS_SEED ?? Date.now() % 1_000_000);
const roundsOfMoves = 12;
const connects = 3_000;
const connectsAtOnce = 50;
/** What the heap may have grown by after thousands of connections: compiled code, caches that are bounded. */
const heapGrowthMaxBytes = 6 * 1024 * 1024;
/** What one bomb, unfolded, would take is 64 MiB; dozens come. */
const peakGrowthMaxBytes = 160 * 1024 * 1024;
/** More than the server comes to a halt for on a busy machine: what lies unread meanwhile has not come, for all it knows. */
const headersTimeoutMs = 5_000;

/** The gateway in a process of its own, attacked from here: it neither dies nor keeps anything. */
describe(`a gateway under broken and hostile clients (CLOUDOS_SEED=${seed})`, () => {
  const server = new GatewayServer();
  const random = new SeededRandom(seed);
  let before: Usage;
  beforeAll(async () => {
    await server.start({
      bounds: { frameMaxBytes: 256 * 1024, bodyMaxBytes: 64 * 1024, headersTimeoutMs, heartbeatMs: 250 },
      limits: {
        connectionsPerAddress: 500,
        refusalsPerMinutePerAddress: 1_000_000,
        requestsPerSecondPerAddress: 100_000,
      },
    });
    // Code is compiled and pools are filled before what is held is looked at.
    for (const move of Object.values(fuzzMoves)) await move(server, random);
    await connectAndLeave(500);
    before = await quietUsage();
  }, 300_000);
  afterAll(() => server.stop());

  const status = async () => {
    const headers = { authorization: `Bearer ${server.token}` };
    return (await fetch(`${server.url}/v1/status`, { headers })).status;
  };

  /** What is held once every connection is gone: those that are left are closed by the server within its times. */
  const quietUsage = async (): Promise<Usage> => {
    let usage = await server.usage();
    const quiet = before?.descriptors ?? Number.POSITIVE_INFINITY;
    await until(
      async () => {
        usage = await server.usage();
        const { subscriptions, execs } = usage.sockets;
        return subscriptions === 0 && execs === 0 && usage.descriptors <= quiet;
      },
      90_000,
      () => JSON.stringify(usage),
    );
    return usage;
  };

  const connectAndLeave = async (count: number) => {
    const one = async (n: number) => {
      const peer = new RawPeer(server.port);
      const kind = n % 4;
      if (kind > 0) expect(await peer.upgrade('/v1/events', server.token)).toBe(101);
      if (kind === 1) peer.socket.resetAndDestroy();
      else if (kind === 2) peer.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
      else peer.socket.destroy();
      await peer.ended();
    };
    for (let n = 0; n < count; n += connectsAtOnce) {
      await Promise.all(Array.from({ length: connectsAtOnce }, (_, at) => one(n + at)));
    }
  };

  it.each(Object.keys(fuzzMoves))('%s', async (name) => {
    const move = fuzzMoves[name]!;
    for (let n = 0; n < roundsOfMoves; n++) await move(server, random.fork(`${name} ${n}`));
    expect(await status()).toBe(200);
  });

  it('all of it at once', async () => {
    for (let n = 0; n < roundsOfMoves; n++) {
      await Promise.all(Object.values(fuzzMoves).map((move, at) => move(server, random.fork(`all ${n} ${at}`))));
    }
    expect(await status()).toBe(200);
  }, 300_000);

  it('slow headers and upgrades are cut off in time, while others are served', async () => {
    const started = Date.now();
    const slow = Array.from({ length: 60 }, (_, n) => {
      const peer = new RawPeer(server.port);
      const header = `GET /v1/events HTTP/1.1\r\n${n % 2 === 0 ? 'Upgrade: websocket\r\nConnection: Upgrade\r\n' : ''}X-Slow: `;
      let at = 0;
      const drip = setInterval(() => peer.write(header[at++] ?? 'x'), 50);
      return peer.ended().finally(() => clearInterval(drip));
    });
    expect(await status()).toBe(200);
    await Promise.all(slow);
    // The bound, the interval in which it is looked at, and a busy machine.
    expect(Date.now() - started).toBeLessThan(headersTimeoutMs + 20_000);
  });

  it('peers that fall silent behind the handshake are ended', async () => {
    const silent = await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const peer = new RawPeer(server.port);
        await peer.upgrade('/v1/events', server.token);
        // Half of them close their side and keep the other open.
        if (n % 2 === 0) peer.socket.end();
        return peer;
      }),
    );
    await Promise.all(silent.map((peer) => peer.ended()));
  });

  it('thousands of connects and disconnects leave nothing behind', async () => {
    await connectAndLeave(connects);
    const after = await quietUsage();
    const growth = after.heapBytes - before.heapBytes;
    console.log(
      `seed ${seed}: heap ${mib(before.heapBytes)} to ${mib(after.heapBytes)} MiB, descriptors ${before.descriptors} to ${after.descriptors}, peak ${mib(before.peakRssBytes)} to ${mib(after.peakRssBytes)} MiB`,
    );
    expect(growth).toBeLessThan(heapGrowthMaxBytes);
    expect(after.externalBytes - before.externalBytes).toBeLessThan(heapGrowthMaxBytes);
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
    expect(after.peakRssBytes - before.peakRssBytes).toBeLessThan(peakGrowthMaxBytes);
    expect(after.waitingBytes).toBe(0);
    expect(server.running).toBe(true);
    const defects = server.output.split('\n').filter((line) => /defect|unhandled|"level":"error"/i.test(line));
    expect(defects).toEqual([]);
    // No token in anything that was said.
    expect(server.output).not.toContain(server.token);
  }, 300_000);
});

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
