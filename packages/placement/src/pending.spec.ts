import { describe, expect, it } from 'vitest';
import type { InstanceRecord } from './instance-record.ts';
import { PendingWalk } from './pending-walk.ts';
import { cluster, give, joined, placed, removed, requested, vector, withdrawn } from './placement.fixture.ts';

function order(of: ReturnType<typeof cluster>): string[] {
  const walk = new PendingWalk();
  for (const group of of.groups.values()) walk.add(group);
  const seen: string[] = [];
  for (let record: InstanceRecord | undefined = walk.current(); record; record = walk.current()) {
    seen.push(record.id);
    walk.advance();
  }
  return seen;
}

describe('those who wait', () => {
  it('come by priority, and first come first within one, whatever they ask for', () => {
    const some = cluster();
    give(some, requested('a'), requested('b', { priority: 300 }), requested('c', { requests: vector(5) }));
    give(some, requested('d'), requested('e', { priority: 300, requests: vector(5) }));
    expect(order(some)).toEqual(['b', 'e', 'a', 'c', 'd']);
    give(some, withdrawn('a'), withdrawn('e'));
    expect(order(some)).toEqual(['b', 'c', 'd']);
  });

  it('have one group for those who ask for the same; it goes with the last of them', () => {
    const some = cluster();
    give(some, requested('a'), requested('b', { workload: 'default/other' }), requested('c', { priority: 7 }));
    expect(some.groups.size).toBe(2);
    expect(cluster({ groupByWorkload: true })).toSatisfy((other: ReturnType<typeof cluster>) => {
      give(other, requested('a'), requested('b', { workload: 'default/other' }));
      return other.groups.size === 2;
    });
    give(some, withdrawn('a'), withdrawn('b'), withdrawn('c'));
    expect([some.groups.size, some.instances.size]).toEqual([0, 0]);
  });

  it('take their old place in the line when others whom they were to replace stay', () => {
    const some = cluster();
    give(some, joined('n1'), requested('low'), placed('low', 'n1'), requested('a', { priority: 300 }));
    give(some, requested('b', { priority: 300 }));
    const preempted = { instance: 'low', node: 'n1', by: 'a', reason: '', graceMs: 0 };
    give(some, { type: 'InstancePreempted', data: preempted });
    expect(order(some)).toEqual(['b']);
    give(some, { type: 'NodeCordoned', data: { node: 'n1', reason: '' } });
    expect(order(some)).toEqual(['a', 'b']);
    give(some, removed('low', 'n1'));
    expect(order(some)).toEqual(['a', 'b']);
  });

  it('know what all of a group were told', () => {
    const some = cluster();
    const tell = (instance: string, constraint: string) =>
      give(some, { type: 'InstanceUnplaceable', data: { instance, reasons: [{ constraint, nodes: 1, message: '' }] } });
    give(some, requested('a'), requested('b'));
    const [group] = [...some.groups.values()];
    tell('a', 'cpu');
    expect(group!.toldAll('cpu')).toBe(false);
    tell('b', 'cpu');
    expect([group!.toldAll('cpu'), group!.toldAll('memory')]).toEqual([true, false]);
    tell('a', 'memory');
    expect([group!.toldAll('cpu'), group!.toldAll('memory')]).toEqual([false, false]);
    give(some, requested('c'));
    tell('b', 'memory');
    tell('c', 'memory');
    expect(group!.toldAll('memory')).toBe(true);
  });
});
