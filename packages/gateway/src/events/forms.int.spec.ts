import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Bench, Listener, openBench, until } from '../spec-kit.ts';
import { feedForms, openFeed } from './feed-reader.fixture.ts';

const positions = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

describe.each(feedForms)('a feed as %s', (form) => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(() => bench.close());

  const record = (count: number, time?: number) =>
    bench.kernel.events.record(
      ...Array.from({ length: count }, (_, at) => ({
        stream: 'kernel',
        type: 'StackAssembled',
        ...(time !== undefined && { time: time + at * 1_000 }),
      })),
    );
  const open = (query: string, headers?: Record<string, string>) => openFeed(bench, form, query, headers);
  const got = async (query: string, count: number) => {
    const reader = await open(query);
    await until(`${query}: ${count} events come`, () => reader.positions.length >= count);
    reader.close();
    return reader.positions;
  };

  it('selects by each filter, of the past and of what is to come', async () => {
    const web = { workload: 'default/web', instance: 'web-1' };
    bench.kernel.events.record(
      { stream: 'orchestrator', type: 'InstanceRequested', data: web, meta: { correlation: 'c1' } },
      { stream: 'resources', type: 'InstancePlaced', data: { instance: 'web-1', node: 'n1' }, meta: { causation: 0 } },
      { stream: 'node-n1', type: 'GuestStarted', data: { instance: 'web-1', node: 'n1' } },
      { stream: 'node-n2', type: 'GuestStarted', data: { instance: 'other', node: 'n2' } },
    );
    const filters: [string, number[]][] = [
      ['types=Guest*', [2, 3, 4]],
      ['types=InstancePlaced,GuestExited', [1, 4]],
      ['streams=node-*', [2, 3, 4]],
      ['streams=node-n2,kernel', [3, 4, 5]],
      ['workload=web', [0, 1, 2, 4]],
      ['node=n2', [3, 4]],
      ['layer=node', [2, 3, 4]],
      ['cause=c1', [0, 4]],
      ['cause=0', [0, 1, 4]],
      ['types=Guest*&node=n2&workload=web', [4]],
    ];
    const readers = await Promise.all(filters.map(([query]) => open(`from=start&${query}`)));
    const exited = { instance: 'web-1', node: 'n2' };
    bench.kernel.events.record(
      { stream: 'node-n2', type: 'GuestExited', data: exited, meta: { correlation: 'c1' } },
      { stream: 'kernel', type: 'StackAssembled' },
    );
    await until('all have theirs', () =>
      readers.every((reader, at) => reader.positions.length >= filters[at]![1].length),
    );
    expect(readers.map((reader, at) => [filters[at]![0], reader.positions])).toEqual(filters);
    for (const reader of readers) reader.close();
  });

  it('begins at a position, at the start, at a time or now, and ends behind one', async () => {
    record(20, 1_700_000_000_000);
    expect(await got('from=17', 3)).toEqual([17, 18, 19]);
    expect(await got('from=start', 20)).toEqual(positions(0, 19));
    expect(await got('from=2023-11-14T22:13:38Z', 2)).toEqual([18, 19]);
    expect(await got('from=@1700000018500', 1)).toEqual([19]);
    const now = await open('from=now');
    const range = await open('from=3&to=7');
    await until('the range ends', () => range.ended !== undefined);
    expect(range.positions).toEqual(positions(3, 7));
    expect(range.ended).toMatch(/^(1000 the end of the range|the end)$/);
    record(1);
    await until('what is new comes', () => now.positions.length > 0);
    expect(now.positions).toEqual([20]);
    now.close();
  });

  it('says when catch-up is over and how far the log is, also where it has an end', async () => {
    record(3);
    const readers = await Promise.all(
      ['types=Nothing', 'to=1000'].map((query) => open(`from=start&markers=true&heartbeatMs=100&${query}`)),
    );
    const told = (name: string) => readers.map(({ markers }) => markers.filter((marker) => marker.name === name));
    await until('both are told', () => told('Heartbeat').every((each) => each.length > 0));
    expect(told('Live').map((each) => each.map(({ data }) => data))).toEqual([
      [{ position: 2, head: 2 }],
      [{ position: 2, head: 2 }],
    ]);
    record(2);
    const isLevel = ({ data }: { data: Record<string, unknown> }) => data.position === 4 && data.head === 4;
    await until('the new head is told', () => told('Heartbeat').every((each) => each.some(isLevel)));
    for (const reader of readers) reader.close();
  });

  it('says what retention has removed and what stands in for it, and goes on with what is kept', async () => {
    record(30, 1_700_000_000_000);
    bench.kernel.events.trim(12);
    const gap = (from: number) => ({
      name: 'Gap',
      data: { from, to: 11, head: 29, snapshot: { method: 'snapshot', path: '/v1/view' } },
    });
    // A time of which it is not known any more what was appended then.
    for (const [from, missing] of [
      ['4', 4],
      ['start', 0],
      ['2023-11-14T22:13:25Z', 0],
    ] as const) {
      const reader = await open(`from=${from}`);
      await until(`from ${from}: all that is kept comes`, () => reader.positions.length >= 18);
      expect([from, reader.markers[0]]).toEqual([from, gap(missing)]);
      expect(reader.positions).toEqual(positions(12, 29));
      reader.close();
    }
    const later = await open('from=2023-11-14T22:13:40Z');
    await until('it comes', () => later.positions.length >= 10);
    expect(later.markers.filter(({ name }) => name === 'Gap')).toEqual([]);
    later.close();
  });

  it('shows a token no more than it may read, and counts against its limits', async () => {
    await bench.close();
    bench = await openBench({ limits: { subscriptionsPerToken: 2 } });
    bench.kernel.events.record(
      { stream: 'node-n1', type: 'GuestStarted', data: { node: 'n1' } },
      { stream: 'node-n1', type: 'NodeJoined', data: { node: 'n1' } },
      { stream: 'node-n2', type: 'GuestStarted', data: { node: 'n2' } },
    );
    const events = { types: ['Guest*'], node: 'n1' };
    const { token } = await bench.client.createToken({ name: 'guests', scopes: ['events:read'], events });
    const headers = { authorization: `Bearer ${token}` };
    const [all, some] = [await open('from=start', headers), await open('from=start&types=GuestS*', headers)];
    bench.kernel.events.record(
      { stream: 'node-n2', type: 'GuestStarted', data: { node: 'n2' } },
      { stream: 'node-n1', type: 'GuestStarted', data: { node: 'n1' } },
    );
    await until('they come', () => [all, some].every((reader) => reader.positions.length >= 2));
    expect([all.positions, some.positions]).toEqual([
      [0, 4],
      [0, 4],
    ]);
    const third = new Listener(bench.socketUrl('/v1/events'), { headers });
    await until('it is refused', () => third.refused !== undefined);
    expect(JSON.parse(third.refused?.body ?? '')).toMatchObject({ code: 'SUBSCRIPTIONS_EXCEEDED' });
    all.close();
    some.close();
    const beyond = await bench.get('/v1/events?format=ndjson&node=n2', { headers });
    expect([beyond.status, await beyond.json()]).toMatchObject([403, { code: 'SCOPE_MISSING' }]);
  });
});
