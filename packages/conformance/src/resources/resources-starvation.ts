import { describe, expect, test } from 'vitest';
import type { ResourcesSuite } from '../resources.conformance.ts';
import { guestRemoved, joined, of, requested, vector, withdrawn } from './resources-harness.ts';

/** Who gets a place in the end though others come and go all the time, where the system promises it. */
export function starvationTests(suite: ResourcesSuite): void {
  describe.runIf(suite.supports.starvationFree)('starvation', () => {
    test('small ones that come and go do not keep a large one of the same priority out for ever', () => {
      const cluster = suite.harness();
      const one = vector({ cpuMillis: 1_000 });
      const names = ['s0', 's1', 's2', 's3'];
      cluster.give(
        joined('n1'),
        ...names.map((name) => requested(name, { requests: one, workload: `default/${name}` })),
      );
      cluster.give(requested('large', { requests: vector({ cpuMillis: 4_000 }), workload: 'default/large' }));
      for (let round = 4; round < 40 && cluster.oracle.instances.get('large')?.node === undefined; round++) {
        const gone = names.shift();
        if (gone === undefined) break;
        names.push(`s${round}`);
        const next = requested(`s${round}`, { requests: one, workload: `default/s${round}` });
        cluster.now += 60_000;
        const placed = cluster.oracle.instances.get(gone)?.node !== undefined;
        cluster.give(next, withdrawn(gone), ...(placed ? [guestRemoved(gone, 'n1')] : []));
      }
      expect(cluster.oracle.instances.get('large')?.node).toBe('n1');
    });
  });

  describe.runIf(suite.supports.guarantee)('a guarantee', () => {
    test('is kept though more important others come and go all the time', () => {
      const cluster = suite.harness();
      const one = vector({ cpuMillis: 1_000 });
      const amount = { cpuMillis: 2_000, memoryBytes: 8 * 2 ** 30 };
      cluster.give(joined('n1'), joined('n2'));
      const { refused } = cluster.command({ type: 'SetQuota', owner: 'eng', limit: {}, guarantee: amount });
      expect(refused).toBeUndefined();
      let made = 0;
      // those who are preempted for it are gone at once
      const give = (...events: Parameters<typeof cluster.give>) => {
        for (const { instance, node } of of('InstancePreempted', cluster.give(...events)))
          give(guestRemoved(instance, node));
      };
      const other = () =>
        requested(`o${made}`, { requests: one, owner: 'ops', priority: 300, workload: `default/o${made++}` });
      give(...Array.from({ length: 12 }, other));
      const own = ['e0', 'e1'];
      give(
        ...own.map((name) => requested(name, { requests: one, owner: 'eng', priority: 100, workload: 'default/eng' })),
      );
      const nodeOf = (name: string) => cluster.oracle.instances.get(name)?.node;
      for (let round = 0; round < 40 && own.some((name) => nodeOf(name) === undefined); round++) {
        cluster.now += 60_000;
        const [gone] = [...cluster.oracle.instances].find(([name, { node }]) => name[0] === 'o' && node) ?? [];
        if (gone === undefined) break;
        const node = nodeOf(gone)!;
        give(other(), withdrawn(gone), guestRemoved(gone, node));
      }
      expect(own.map(nodeOf)).not.toContain(undefined);
    });
  });
}
