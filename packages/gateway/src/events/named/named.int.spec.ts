import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordedEvent } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startGateway } from '../../gateway.ts';
import { type Bench, openBench, until } from '../../spec-kit.ts';
import { SubscriptionStore } from './subscription-store.ts';

const backoff = { initialMs: 5, maxMs: 50 };

describe('a named subscription', () => {
  let bench: Bench;
  const stop = new Set<AbortController>();
  beforeEach(async () => {
    bench = await openBench();
  });
  afterEach(async () => {
    for (const each of stop) each.abort();
    stop.clear();
    await bench.close();
  });

  const record = (count: number, type = 'StackAssembled') =>
    bench.kernel.events.record(...Array.from({ length: count }, () => ({ stream: 'kernel', type })));
  const positions = (count: number) => Array.from({ length: count }, (_, at) => at);

  /** Works until the test ends or it is stopped. */
  const worker = (handler: (events: readonly RecordedEvent[]) => unknown, options = {}) => {
    const controller = new AbortController();
    stop.add(controller);
    const { signal } = controller;
    const handle = async (events: readonly RecordedEvent[]) => void (await handler(events));
    const done = bench.client.work('audit', handle, { from: 'start', backoff, signal, ...options });
    done.catch(() => {});
    return { done, stop: () => controller.abort() };
  };

  it('goes on after what was acknowledged, over restarts of both sides', async () => {
    const { port } = bench.gateway;
    record(300);
    const seen: number[] = [];
    const first = worker((events) => seen.push(...events.map(({ position }) => position)), { inFlightMax: 50 });
    await until('all are done', () => seen.length === 300);
    await until('the cursor is stored', () => true);
    await bench.gateway.close();
    record(50);
    const again = await startGateway({ kernel: bench.kernel, stateDir: bench.stateDir, port });
    await until('those that came meanwhile are done', () => seen.length >= 350);
    first.stop();
    await first.done;
    expect(seen).toEqual(positions(350));
    record(10);
    worker((events) => seen.push(...events.map(({ position }) => position)));
    await until('the rest is done', () => seen.length >= 360);
    expect(seen).toEqual(positions(360));
    const [info] = await bench.client.subscriptions();
    expect(info).toMatchObject({ name: 'audit', owner: 'local', consumers: 1 });
    await again.close();
  });

  it('shares its events among the consumers that compete for them, each event to one', async () => {
    const seen = [0, 1, 2].map(() => [] as number[]);
    for (const mine of seen)
      worker((events) => mine.push(...events.map(({ position }) => position)), { inFlightMax: 20 });
    await until('three are connected', () => bench.gateway.connections().subscriptions === 3);
    record(600);
    await until('all are done', () => seen.flat().length >= 600);
    expect(seen.flat().sort((a, b) => a - b)).toEqual(positions(600));
    for (const mine of seen) expect(mine.length).toBeGreaterThan(50);
  });

  it('tells what was not acknowledged to another: after the deadline, and at once when a consumer leaves', async () => {
    record(10);
    const slow = await bench.listen('/v1/events?subscription=audit&from=start&redeliverMs=200').opened();
    await until('it has them', () => slow.messages.length === 10);
    const seen: number[] = [];
    worker((events) => seen.push(...events.map(({ position }) => position)), { redeliverMs: 60_000 });
    await until('another one has them after the deadline', () => seen.length >= 10);
    expect(seen.sort((a, b) => a - b)).toEqual(positions(10));
    slow.socket.close();
    const holder = await bench.listen('/v1/events?subscription=other&from=start').opened();
    await until('it has them', () => holder.messages.length === 10);
    const heir = await bench.listen('/v1/events?subscription=other').opened();
    holder.socket.terminate();
    await until('the heir has them', () => heir.messages.length === 10);
    expect(JSON.parse(heir.messages[0] ?? '')).toMatchObject({ position: 0, deliveries: 2 });
    heir.socket.close();
  });

  it('moves its cursor to before the first event that is not acknowledged', async () => {
    record(10);
    const listener = await bench.listen('/v1/events?subscription=audit&from=start&types=Stack*').opened();
    await until('it has them', () => listener.messages.length === 10);
    const acknowledge = async (params: object) => {
      const before = listener.messages.length;
      listener.socket.send(JSON.stringify({ jsonrpc: '2.0', id: before, method: 'acknowledge', params }));
      await until('it is answered', () => listener.messages.length > before);
      return (JSON.parse(listener.messages.at(-1) ?? '') as { result: unknown }).result;
    };
    expect(await acknowledge({ positions: [0, 1, 5] })).toEqual({ cursor: 1 });
    expect(await acknowledge({ position: 4 })).toEqual({ cursor: 5 });
    const { cursor } = (await bench.client.subscriptions())[0] ?? {};
    expect(cursor).toBe(5);
    listener.socket.close();
    const again = await bench.listen('/v1/events?subscription=audit').opened();
    await until('the others come again', () => again.messages.length === 4);
    expect(again.positions()).toEqual([6, 7, 8, 9]);
    again.socket.close();
  });

  it('refuses another filter, is listed, and ends for everybody when it is deleted', async () => {
    record(1);
    const { done } = worker(() => {}, { types: ['Stack*'] });
    await until('it is there', () => bench.gateway.connections().subscriptions === 1);
    await until('it is listed', () => true);
    await expect(bench.client.work('audit', () => {}, { backoff, types: ['Guest*'] })).rejects.toMatchObject({
      code: 'SUBSCRIPTION_CONFLICT',
    });
    expect(await bench.client.subscriptions()).toMatchObject([{ name: 'audit', filter: { types: ['Stack*'] } }]);
    await bench.client.deleteSubscription('audit');
    await expect(done).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' });
    await expect(bench.client.deleteSubscription('audit')).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' });
    expect(await bench.client.subscriptions()).toEqual([]);
  });

  it('belongs to the token that made it', async () => {
    worker(() => {});
    await until('it is there', () => bench.gateway.connections().subscriptions === 1);
    const { token } = await bench.client.createToken({ name: 'other', scopes: ['events:read'] });
    const listed = await bench.get('/v1/subscriptions', { headers: { authorization: `Bearer ${token}` } });
    expect(await listed.json()).toEqual([]);
    const init = { method: 'DELETE', headers: { authorization: `Bearer ${token}` } };
    expect((await bench.get('/v1/subscriptions/audit', init)).status).toBe(404);
  });
});

describe('the store of named subscriptions', () => {
  const of = (name: string, cursor: number) => ({ name, owner: 'local', filter: {}, cursor, createdAt: 1 });

  it('keeps what was put, drops a line that was cut off, and refuses one that was damaged', async () => {
    const bench = await openBench();
    await bench.gateway.close();
    const file = join(bench.stateDir, 'subscriptions.jsonl');
    let store = await SubscriptionStore.open(bench.stateDir);
    await Promise.all(Array.from({ length: 50 }, (_, cursor) => store.put(of('a', cursor))));
    await store.put(of('b', 1));
    await store.delete('b');
    await store.close();
    await appendFile(file, '{"name":"a","cursor":99');
    store = await SubscriptionStore.open(bench.stateDir);
    expect(store.list()).toEqual([of('a', 49)]);
    await store.put(of('c', 3));
    await store.close();
    expect((await readFile(file, 'utf8')).trim().split('\n')).toHaveLength(2);
    await writeFile(file, 'nonsense\n{"name":"a"}\n');
    await expect(SubscriptionStore.open(bench.stateDir)).rejects.toMatchObject({ code: 'SUBSCRIPTIONS_DAMAGED' });
    await bench.close();
  });
});
