import { CloudosError } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { MemoryEventLog } from './memory.log.ts';
import { withSchemas } from './schemas.log.ts';
import { Upcasters } from './upcasters.ts';

async function first(log: Pick<MemoryEventLog, 'read'>) {
  for await (const batch of log.read({})) return batch[0]!;
  throw new Error('empty');
}

describe('withSchemas', () => {
  it('refuses data that does not match, and writes nothing of the append', async () => {
    const inner = new MemoryEventLog();
    const log = withSchemas(inner);
    const good = { type: 'NodeLost', data: { node: 'n1', reason: 'gone' } };
    await expect(log.append('kernel', [good, { type: 'NodeLost', data: { node: 7 } }], 'any')).rejects.toMatchObject({
      code: 'EVENT_INVALID',
    });
    await expect(log.append('kernel', [{ type: 'Unheard', data: {} }], 'any')).rejects.toMatchObject({
      code: 'EVENT_TYPE_UNKNOWN',
    });
    expect(inner.head()).toBe(-1);
    await log.append('kernel', [good, { type: 'x-mine-Own', data: 'anything' }], 'any');
    expect(inner.head()).toBe(1);
  });

  it('fills in defaults and stamps the schema version', async () => {
    const log = withSchemas(new MemoryEventLog());
    await log.append('resources', [{ type: 'SubnetLeased', data: { node: 'n', subnet: '10.0.0.0/24' } }], 'any');
    const event = await first(log);
    expect(event.data).toEqual({ node: 'n', subnet: '10.0.0.0/24', backend: {} });
    expect(event.meta.schema).toBe(1);
  });

  it('upcasts on read and on subscription, step by step', async () => {
    const inner = new MemoryEventLog();
    await inner.append('a', [{ type: 'T', data: { a: 1 }, meta: { schema: 1 } }], 'any');
    const upcasters = new Upcasters(() => 3)
      .register('T', 1, (data: { a: number }) => ({ b: data.a + 1 }))
      .register('T', 2, (data: { b: number }) => ({ c: data.b + 1 }));
    const log = withSchemas(inner, { check: (_type, data) => data, upcasters });
    expect(await first(log)).toMatchObject({ data: { c: 3 }, meta: { schema: 3 } });
    const seen = await new Promise((resolve) => log.subscribe(0).subscribe((batch) => resolve(batch[0])));
    expect(seen).toMatchObject({ data: { c: 3 } });
    await log.append('a', [{ type: 'T', data: { c: 9 } }], 'any');
    expect(await inner.revision('a')).toBe(1);
  });

  it('finds events by the keys that they have as they are read', async () => {
    const inner = new MemoryEventLog();
    for (const n of [1, 2, 3])
      await inner.append('a', [{ type: 'T', data: { on: `n${n % 2}` }, meta: { schema: 1 } }], 'any');
    const upcasters = new Upcasters(() => 2).register('T', 1, (data: { on: string }) => ({ node: data.on }));
    const log = withSchemas(inner, { check: (_type, data) => data, upcasters });
    const filter = { keys: ['node:n1'] } as const;
    const positions: number[] = [];
    for await (const batch of log.read({ filter })) positions.push(...batch.map(({ position }) => position));
    for await (const batch of log.read({ filter, limit: 1 })) positions.push(...batch.map(({ position }) => position));
    expect(positions).toEqual([0, 2, 0]);
    const seen = await new Promise((resolve) => log.subscribe(1, filter).subscribe(resolve));
    expect(seen).toMatchObject([{ position: 2, data: { node: 'n1' } }]);
  });

  it('says what is missing or newer than it knows', async () => {
    const inner = new MemoryEventLog();
    await inner.append('a', [{ type: 'T', data: 1, meta: { schema: 2 } }], 'any');
    for (const current of [1, 3]) {
      const log = withSchemas(inner, { upcasters: new Upcasters(() => current).register('T', 1, (data) => data) });
      await expect(first(log)).rejects.toBeInstanceOf(CloudosError);
    }
  });
});
