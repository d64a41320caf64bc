import { describe, expect, it } from 'vitest';
import { lineage } from './owner-tree.ts';
import { cluster, give, joined, placed, removed, requested, vector, withdrawn } from './placement.fixture.ts';
import { describeAmount } from './resource-vector.ts';

const quota = (owner: string, cpuMillis: number, some: object = {}) => ({
  type: 'QuotaSet',
  data: { owner, limit: { cpuMillis }, ...some },
});

function obstacle(of: ReturnType<typeof cluster>, instance: string, now = 0): string | undefined {
  return of.owners.obstacle(of.instances.get(instance)!, now)?.message;
}

describe('owners', () => {
  it('are those of the path and of everything above it', () => {
    expect(lineage('a/b/c')).toEqual(['a/b/c', 'a/b', 'a']);
    expect(lineage('a')).toEqual(['a']);
  });

  it('are bounded by their own quota and by those above', () => {
    const some = give(cluster(), joined('n1'), quota('eng', 3_000), quota('eng/web', 2_000));
    give(some, requested('a', { owner: 'eng/web', requests: vector(2_000) }), requested('b', { owner: 'eng/web' }));
    give(some, requested('c', { owner: 'eng/db', requests: vector(2_000) }), requested('d', { owner: 'engine' }));
    expect(obstacle(some, 'a')).toBeUndefined();
    give(some, placed('a', 'n1'));
    expect(obstacle(some, 'b')).toBe('eng/web uses 2000m of 2000m cpu, 1000m more would be over its quota');
    expect(obstacle(some, 'c')).toMatch(/^eng uses 2000m of 3000m cpu/);
    expect(obstacle(some, 'd')).toBeUndefined();
    give(some, withdrawn('a'));
    expect(obstacle(some, 'b')).toMatch(/^eng\/web/);
    give(some, removed('a', 'n1'));
    expect([obstacle(some, 'b'), obstacle(some, 'c')]).toEqual([undefined, undefined]);
  });

  it('have a quota counted that is set when things run already, for the priorities that it is about', () => {
    const some = give(cluster(), joined('n1'), requested('a', { owner: 'x' }), placed('a', 'n1'));
    give(some, quota('x', 1_500, { priority: { from: 200, to: 1_000 } }), requested('b', { owner: 'x' }));
    expect(obstacle(some, 'b')).toBeUndefined();
    give(some, quota('x', 1_500));
    expect(obstacle(some, 'b')).toMatch(/uses 1000m of 1500m/);
    give(some, { type: 'QuotaRemoved', data: { owner: 'x' } });
    expect(obstacle(some, 'b')).toBeUndefined();
  });

  it('have nothing after the end of a quota, and nothing new while they are stopped', () => {
    const some = give(cluster(), joined('n1'), quota('x', 1e6, { until: 1_000 }), requested('a', { owner: 'x/y' }));
    expect([obstacle(some, 'a', 999), obstacle(some, 'a', 1_000)]).toEqual([
      undefined,
      expect.stringMatching(/ended at/),
    ]);
    give(some, { type: 'OwnerStateChanged', data: { owner: 'x', state: 'stopped' } });
    expect(obstacle(some, 'a', 0)).toBe('x/y takes no new instances');
  });
});

it.each([
  ['cpu', 1_499.6, '1500m'],
  ['memory', 0, '0 B'],
  ['memory', 1_023, '1023 B'],
  ['disk', 2_684_354_560, '2.5 GiB'],
  ['memory', 2 ** 60, '1048576 TiB'],
  ['gpu', 3, '3'],
])('%s %d reads %s', (dimension, amount, text) => expect(describeAmount(dimension, amount)).toBe(text));
