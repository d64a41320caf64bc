import { afterEach, describe, expect, it } from 'vitest';
import { type Bench, openBench, until } from '../../spec-kit.ts';
import { openFeed } from '../feed-reader.fixture.ts';
import { outstandingMaxBytes } from './named-subscription.ts';

describe('what a named subscription is told, and what it costs', () => {
  let bench: Bench;
  afterEach(() => bench.close());

  const record = (count: number, type = 'StackAssembled', data: unknown = {}) =>
    bench.kernel.events.record(...Array.from({ length: count }, () => ({ stream: 'kernel', type, data })));

  it.each(['standard', 'compact'] as const)(
    'tells of a gap, and how far it is while nothing matches (%s)',
    async (form) => {
      bench = await openBench();
      record(10);
      bench.kernel.events.trim(4);
      const query = 'subscription=audit&from=start&types=Guest*&markers=true&heartbeatMs=100';
      const reader = await openFeed(bench, form, query);
      const told = (name: string) => reader.markers.filter((marker) => marker.name === name).map(({ data }) => data);
      await until('it is level', () => told('Heartbeat').some(({ position }) => position === 9));
      expect(told('Gap')).toEqual([{ from: 0, to: 3, head: 9, snapshot: { method: 'snapshot', path: '/v1/view' } }]);
      expect(await bench.client.subscriptions()).toMatchObject([{ cursor: 9, head: 9, outstanding: 0 }]);
      record(1, 'GuestStarted');
      record(5);
      await until('the event comes', () => reader.positions.length > 0);
      const before = told('Heartbeat').length;
      await until('it is told how far it is', () => told('Heartbeat').length >= before + 2);
      // What was not acknowledged is not behind it.
      expect(told('Heartbeat').at(-1)).toEqual({ position: 9, head: 15 });
      reader.close();
      await until('nobody is there', () => bench.gateway.connections().subscriptions === 0);
      // Over another connection it begins with what was not acknowledged, and not before.
      const again = await openFeed(bench, form, 'subscription=audit');
      await until('the event comes again', () => again.positions.length > 0);
      expect([again.positions, again.markers.filter(({ name }) => name === 'Gap')]).toEqual([[10], []]);
      again.close();
    },
  );

  it('holds no more of large events than its bounds, whoever takes nothing of them', async () => {
    const buffer = 64 * 1024;
    bench = await openBench({ bounds: { socketBufferMaxBytes: buffer } });
    const [each, count] = [40_000, 2_000];
    record(count, 'StackAssembled', { bytes: 'x'.repeat(each) });
    const slow = await bench.listen('/v1/events?subscription=audit&from=start&inflight=4096').opened();
    slow.socket.pause();
    const outstanding = async () => (await bench.client.subscriptions())[0]?.outstanding ?? 0;
    let seen = 0;
    // A batch of the log is begun when there is room.
    const batch = 256;
    for (let still = 0; still < 20; still++) {
      const now = await outstanding();
      if (now !== seen) still = 0;
      seen = now;
    }
    expect(seen).toBeGreaterThan(0);
    expect(seen).toBeLessThan(outstandingMaxBytes / each + batch);
    slow.socket.terminate();
  });

  it('is made by a token so many times', async () => {
    bench = await openBench({ limits: { namedSubscriptionsPerToken: 2 } });
    const { token } = await bench.client.createToken({ name: 'reader', scopes: ['events:read'] });
    const headers = { authorization: `Bearer ${token}` };
    const join = (name: string) => bench.listen(`/v1/events?subscription=${name}`, { headers });
    const [one, two] = [await join('one').opened(), await join('two').opened()];
    await expect.poll(async () => (await bench.client.subscriptions()).length).toBe(2);
    const three = join('three');
    await until('a third is refused', () => three.closed !== undefined);
    expect(three.closed).toMatchObject({
      code: 4400,
      reason: expect.stringMatching(/^SUBSCRIPTIONS_EXCEEDED: 2 named/),
    });
    // Those that are there can be joined, and others have their own number.
    const again = await join('one').opened();
    const other = await bench.listen('/v1/events?subscription=three').opened();
    await until('it is there', () => bench.gateway.connections().subscriptions === 4);
    for (const { socket } of [one, two, again, other]) socket.close();
  });

  it('is refused where it would be something else: over plain HTTP, and with an end', async () => {
    bench = await openBench();
    for (const format of ['json', 'ndjson', 'sse']) {
      const response = await bench.get(`/v1/events?subscription=audit&format=${format}`);
      expect([response.status, await response.json()]).toMatchObject([400, { code: 'REQUEST_MALFORMED' }]);
    }
    const listener = bench.listen('/v1/events?subscription=audit&to=5');
    await until('it is refused', () => listener.refused !== undefined);
    expect(JSON.parse(listener.refused?.body ?? '')).toMatchObject({ code: 'REQUEST_MALFORMED' });
    expect(await bench.client.subscriptions()).toEqual([]);
  });
});
