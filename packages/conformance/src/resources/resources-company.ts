import type { PlacementRule } from '@cloudos/sdk';
import { describe, expect, test } from 'vitest';
import type { ResourcesSuite } from '../resources.conformance.ts';
import { guestRemoved, joined, of, placements, requested, vector, withdrawn } from './resources-harness.ts';

const zoned = (node: string, zone: string, cpuMillis = 4_000) =>
  joined(node, { attributes: { zone }, capacity: vector({ cpuMillis, memoryBytes: 8e9, pids: 100 }) });
const rule = (some: Partial<PlacementRule>): PlacementRule[] => [
  { scope: 'node', tags: ['db'], required: true, ...some },
];
const small = { requests: vector({ cpuMillis: 100 }) };
const db = (name: string) => requested(name, { ...small, workload: 'default/db', tags: ['db'] });

/** Rules about company, and ports of nodes. */
export function companyTests(suite: ResourcesSuite): void {
  describe.runIf(suite.supports.company)('company', () => {
    test('affinity: an instance goes where the others are, and waits where there are none', () => {
      const cluster = suite.harness();
      cluster.append(zoned('n1', 'a'), zoned('n2', 'b'), zoned('n3', 'b'));
      const near = { ...small, placement: rule({ scope: 'zone', min: 1 }) };
      const told = of('InstanceUnplaceable', cluster.give(requested('a', near)));
      expect(told).toMatchObject([{ instance: 'a', reasons: [{ constraint: 'company per zone', nodes: 3 }] }]);
      cluster.append({ type: 'InstanceRequested', data: { ...(db('db').data as object), node: 'n2' } });
      const placed = placements(cluster.settle());
      expect(placed.db).toBe('n2');
      expect(['n2', 'n3']).toContain(placed.a);
    });
    test('affinity to its like: the first goes anywhere, the others to it', () => {
      const cluster = suite.harness();
      cluster.append(zoned('n1', 'a', 150), zoned('n2', 'b', 250), zoned('n3', 'b', 250));
      const together = { ...small, tags: ['db'], placement: rule({ scope: 'zone', min: 1 }) };
      const placed = placements(cluster.give(...['a', 'b', 'c'].map((name) => requested(name, together))));
      const zones = Object.values(placed).map((node) => (node === 'n1' ? 'a' : 'b'));
      expect(new Set(zones).size).toBe(1);
      expect(cluster.oracle.waiting()).toHaveLength(3 - zones.length);
    });
    test('anti-affinity holds both ways, and until the other is gone', () => {
      const cluster = suite.harness();
      cluster.append(zoned('n1', 'a'));
      cluster.give(db('db'));
      const apart = { ...small, placement: rule({ max: 0 }) };
      expect(of('InstanceUnplaceable', cluster.give(requested('a', apart)))).toMatchObject([
        { instance: 'a', reasons: [{ constraint: 'company per node', nodes: 1 }] },
      ]);
      expect(cluster.give(withdrawn('db')).filter(({ type }) => type === 'InstancePlaced')).toEqual([]);
      expect(placements(cluster.give(guestRemoved('db', 'n1')))).toEqual({ a: 'n1' });
      expect(of('InstanceUnplaceable', cluster.give(db('db2')))).toMatchObject([
        { instance: 'db2', reasons: [{ constraint: 'company per node', nodes: 1 }] },
      ]);
      expect(placements(cluster.give(requested('c', small)))).toEqual({ c: 'n1' });
    });
    test('who is kept away from holds up nobody else of the same size', () => {
      const cluster = suite.harness();
      cluster.append(zoned('n1', 'a'));
      const apart = { ...small, workload: 'default/x', placement: rule({ tags: ['workload:default/db'], max: 0 }) };
      cluster.give(requested('x', apart));
      const placed = placements(
        cluster.give(requested('db', { ...small, workload: 'default/db' }), requested('web', small)),
      );
      expect(placed).toEqual({ web: 'n1' });
    });
    test('cardinality: no more than that many to a domain', () => {
      const cluster = suite.harness();
      cluster.append(zoned('n1', 'a'), zoned('n2', 'b'));
      const few = { ...small, tags: ['db'], placement: rule({ max: 1 }) };
      const decided = cluster.give(...['a', 'b', 'c', 'd', 'e'].map((name) => requested(name, few)));
      expect(Object.values(placements(decided)).sort()).toEqual(['n1', 'n1', 'n2', 'n2']);
      expect(of('InstanceUnplaceable', decided)).toMatchObject([{ reasons: [{ constraint: 'company per node' }] }]);
    });
    test('spreading: no domain gets ahead of the others by more than the skew', () => {
      const cluster = suite.harness();
      cluster.append(zoned('n1', 'a'), zoned('n2', 'b', 150), zoned('n3', 'c'));
      const even = { ...small, tags: ['db'], placement: rule({ scope: 'zone', maxSkew: 1 }) };
      const decided = cluster.give(...Array.from({ length: 8 }, (_, at) => requested(`i${at}`, even)));
      const counts = ['n1', 'n2', 'n3'].map(
        (node) => Object.values(placements(decided)).filter((placed) => placed === node).length,
      );
      expect(counts).toEqual([2, 1, 2]);
      expect(of('InstanceUnplaceable', decided)[0]?.reasons.map(({ constraint }) => constraint)).toContain(
        'company per zone',
      );
      expect(Object.keys(placements(cluster.give(zoned('n4', 'b'))))).toHaveLength(3);
    });
    test('a wish that cannot be met keeps nobody waiting', () => {
      const cluster = suite.harness();
      const wish = { ...small, placement: rule({ min: 1, required: false, weight: 100 }) };
      expect(placements(cluster.give(zoned('n1', 'a'), requested('a', wish)))).toEqual({ a: 'n1' });
    });
  });

  describe.runIf(suite.supports.ports)('ports of nodes', () => {
    test('are taken by one at a time, and named as the reason', () => {
      const cluster = suite.harness();
      const asked = { ...small, hostPorts: [80, 443] };
      const decided = cluster.give(joined('n1'), requested('a', asked), requested('b', { ...small, hostPorts: [443] }));
      expect(placements(decided)).toEqual({ a: 'n1' });
      expect(of('InstanceUnplaceable', decided)).toMatchObject([
        { instance: 'b', reasons: [{ constraint: 'ports', nodes: 1 }] },
      ]);
      expect(cluster.give(withdrawn('a'))).toEqual([]);
      expect(placements(cluster.give(guestRemoved('a', 'n1')))).toEqual({ b: 'n1' });
    });
  });
}
