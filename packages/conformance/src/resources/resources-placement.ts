import type { Constraint, NewEvent, ResourceVector } from '@cloudos/sdk';
import { describe, expect, test } from 'vitest';
import type { ResourcesSuite } from '../resources.conformance.ts';
import { guestRemoved, joined, of, placements, requested, vector, withdrawn } from './resources-harness.ts';

/** Where instances go, and why they wait. */
export function placementTests(suite: ResourcesSuite): void {
  describe('placement', () => {
    test('an instance goes to the node that has room, once', () => {
      const cluster = suite.harness();
      const decided = cluster.give(joined('n1'), requested('a'));
      expect(placements(decided)).toEqual({ a: 'n1' });
      expect(decided).toHaveLength(1);
      expect(cluster.settle()).toEqual([]);
    });
    test('nothing is decided where nothing is asked', () => {
      const cluster = suite.harness();
      expect(cluster.settle()).toEqual([]);
      expect(cluster.give(joined('n1'), joined('n2'))).toEqual([]);
    });
    test('many are placed as long as there is room, and no further', () => {
      const cluster = suite.harness();
      for (let n = 0; n < 10; n++) cluster.append(joined(`n${n}`));
      const asked = Array.from({ length: 45 }, (_, n) => requested(`i${n}`, { workload: `default/w${n % 5}` }));
      expect(Object.keys(placements(cluster.give(...asked)))).toHaveLength(40);
      expect(cluster.oracle.waiting()).toHaveLength(5);
    });
    test('instances of one workload are on different nodes while there are enough', () => {
      const cluster = suite.harness();
      for (let n = 0; n < 4; n++) cluster.append(joined(`n${n}`));
      const decided = cluster.give(
        ...['a', 'b', 'c', 'd'].map((name) => requested(name, { requests: vector({ cpuMillis: 500 }) })),
      );
      const placed = Object.values(placements(decided));
      expect(placed).toHaveLength(4);
      if (suite.supports.spreading) expect(new Set(placed).size).toBe(4);
    });
    test('the more important goes first where there is room for one; among equals who asked first', () => {
      const cluster = suite.harness();
      const all = vector({ cpuMillis: 4_000 });
      const asked = [
        requested('late-low', { requests: all, priority: 110 }),
        requested('first', { requests: all, priority: 150 }),
        requested('second', { requests: all, priority: 150 }),
      ];
      expect(placements(cluster.give(...asked, joined('n1')))).toEqual({ first: 'n1' });
      expect(placements(cluster.give(withdrawn('first'), guestRemoved('first', 'n1')))).toEqual({ second: 'n1' });
      expect(placements(cluster.give(withdrawn('second'), guestRemoved('second', 'n1')))).toEqual({ 'late-low': 'n1' });
    });
    test('a node that is prescribed is the only one that will do', () => {
      const cluster = suite.harness();
      expect(
        placements(cluster.give(joined('n1'), joined('n2'), joined('n3'), requested('a', { node: 'n2' }))),
      ).toEqual({ a: 'n2' });
      const [told] = of('InstanceUnplaceable', cluster.give(requested('b', { node: 'n9' })));
      expect(told).toMatchObject({ instance: 'b', reasons: [{ constraint: 'node' }] });
      expect(placements(cluster.give(joined('n9')))).toEqual({ b: 'n9' });
    });
  });
  feasibilityTests(suite);
  reasonTests(suite);
  freeingTests(suite);
}

function feasibilityTests(suite: ResourcesSuite): void {
  describe('feasibility', () => {
    const scarce: [string, Partial<ResourceVector>, Partial<ResourceVector>][] = [
      ['cpu', { cpuMillis: 1_999 }, { cpuMillis: 2_000 }],
      ['memory', { memoryBytes: 1_999_999_999 }, { memoryBytes: 2_000_000_000 }],
      ['disk', { diskBytes: 999 }, { diskBytes: 1_000 }],
      ['pids', { pids: 49 }, { pids: 50 }],
      ['gpu', { custom: { gpu: 1 } }, { custom: { gpu: 2 } }],
    ];
    test.each(scarce)(
      '%s: a node with too little of it is left out, and named as the reason',
      (name, little, wanted) => {
        const cluster = suite.harness();
        const capacity = { ...vector({ cpuMillis: 9_000, memoryBytes: 9e9, diskBytes: 9e9, pids: 900 }), ...little };
        const decided = cluster.give(joined('small', { capacity }), requested('a', { requests: vector(wanted) }));
        expect(of('InstanceUnplaceable', decided)).toMatchObject([
          { instance: 'a', reasons: [{ constraint: name, nodes: 1 }] },
        ]);
        const enough = { ...capacity, ...wanted };
        expect(placements(cluster.give(joined('large', { capacity: enough })))).toEqual({ a: 'large' });
      },
    );
    test('a request for none of a resource does not need any', () => {
      const cluster = suite.harness();
      const capacity = vector({ cpuMillis: 1_000, memoryBytes: 1_000_000_000 });
      expect(placements(cluster.give(joined('n1', { capacity }), requested('a')))).toEqual({ a: 'n1' });
    });
    test('the runtime that is asked for must be there; without one, any will do', () => {
      const cluster = suite.harness();
      cluster.append(joined('bare', { runtime: null }), joined('zones', { runtime: 'zones' }));
      expect(placements(cluster.give(requested('a')))).toEqual({ a: 'zones' });
      const decided = cluster.give(requested('b', { runtime: 'hyper' }));
      expect(of('InstanceUnplaceable', decided)).toMatchObject([
        { instance: 'b', reasons: [{ constraint: 'runtime', nodes: 2 }] },
      ]);
      expect(placements(cluster.give(joined('hyper', { runtime: 'hyper' })))).toEqual({ b: 'hyper' });
    });

    const rules: [Constraint['operator'], string[], meets: Record<string, string>, fails: Record<string, string>][] = [
      ['in', ['a', 'b'], { zone: 'b' }, { zone: 'c' }],
      ['not-in', ['a', 'b'], { zone: 'c' }, { zone: 'a' }],
      ['exists', [], { zone: 'any' }, { other: 'a' }],
      ['not-exists', [], { other: 'a' }, { zone: 'any' }],
      ['gt', ['9'], { zone: '10' }, { zone: '9' }],
      ['lt', ['10'], { zone: '9' }, { zone: '10' }],
    ];
    test.each(rules)('a constraint with %s is kept', (operator, values, meets, fails) => {
      const cluster = suite.harness();
      const constraints = [{ attribute: 'zone', operator, values }];
      const decided = cluster.give(joined('no', { attributes: fails }), requested('a', { constraints }));
      expect(of('InstanceUnplaceable', decided)).toMatchObject([
        { reasons: [{ constraint: 'attribute zone', nodes: 1 }] },
      ]);
      expect(placements(cluster.give(joined('yes', { attributes: meets })))).toEqual({ a: 'yes' });
    });
    test('every constraint must be met', () => {
      const cluster = suite.harness();
      const constraints: Constraint[] = [
        { attribute: 'zone', operator: 'in', values: ['a'] },
        { attribute: 'ssd', operator: 'exists', values: [] },
      ];
      cluster.append(joined('n1', { attributes: { zone: 'a' } }), joined('n2', { attributes: { ssd: 'yes' } }));
      expect(placements(cluster.give(requested('a', { constraints })))).toEqual({});
      expect(placements(cluster.give(joined('n3', { attributes: { zone: 'a', ssd: 'yes' } })))).toEqual({ a: 'n3' });
    });
  });
}

function reasonTests(suite: ResourcesSuite): void {
  describe('why an instance waits', () => {
    test('each constraint is named with the number of nodes that it rules out, in words', () => {
      const cluster = suite.harness();
      cluster.append(joined('n1', { capacity: vector({ cpuMillis: 100, memoryBytes: 9e9 }) }));
      cluster.append(joined('n2', { capacity: vector({ cpuMillis: 100, memoryBytes: 100 }) }));
      const [told] = of('InstanceUnplaceable', cluster.give(requested('a')));
      const counts = Object.fromEntries(told!.reasons.map(({ constraint, nodes }) => [constraint, nodes]));
      expect(counts).toMatchObject({ cpu: 2, memory: 1 });
      for (const { message } of told!.reasons) expect(message.split(' ').length).toBeGreaterThan(2);
    });
    test('without any node that is said too', () => {
      const [told] = of('InstanceUnplaceable', suite.harness().give(requested('a')));
      expect(told?.reasons).toHaveLength(1);
    });
    test('the reasons are recorded once, and again only when they change', () => {
      const cluster = suite.harness();
      const tight = { requests: vector({ cpuMillis: 5_000 }) };
      expect(of('InstanceUnplaceable', cluster.give(joined('n1'), requested('a', tight)))).toHaveLength(1);
      expect(cluster.settle()).toEqual([]);
      const small = requested('b');
      expect(of('InstanceUnplaceable', cluster.give(small, withdrawn('b'), guestRemoved('b', 'n1')))).toEqual([]);
      const changed = cluster.command({ type: 'CordonNode', node: 'n1', reason: '' }).decided;
      const [told] = of('InstanceUnplaceable', changed);
      expect(told?.reasons.map(({ constraint }) => constraint)).toContain('cordoned');
      expect(cluster.settle()).toEqual([]);
    });
    test('whoever comes later is told as well', () => {
      const cluster = suite.harness();
      const tight = { requests: vector({ cpuMillis: 5_000 }) };
      cluster.give(joined('n1'), requested('a', tight));
      const told = of('InstanceUnplaceable', cluster.give(requested('b', tight), requested('c', tight)));
      expect(told.map(({ instance }) => instance).sort()).toEqual(['b', 'c']);
    });
  });
}

function freeingTests(suite: ResourcesSuite): void {
  describe('resources come back', () => {
    const full = { requests: vector({ cpuMillis: 4_000 }) };
    test('when the guest was removed, not when it exited or was withdrawn', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', full), requested('b', full));
      const exited: NewEvent = {
        type: 'GuestExited',
        data: { instance: 'a', node: 'n1', attempt: 1, exitCode: 0, signal: null, reason: 'exited' },
      };
      expect(cluster.give(exited)).toEqual([]);
      expect(cluster.give(withdrawn('a'))).toEqual([]);
      expect(placements(cluster.give(guestRemoved('a', 'n1')))).toEqual({ b: 'n1' });
    });
    test('a withdrawn instance that waits is not placed any more', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', full), requested('b', full));
      expect(cluster.give(withdrawn('b'))).toEqual([]);
      expect(cluster.give(withdrawn('a'), guestRemoved('a', 'n1'))).toEqual([]);
    });
    test('a removal that is told of another node frees nothing', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', full), requested('b', full));
      expect(placements(cluster.give(guestRemoved('a', 'n2')))).toEqual({});
    });
    test('when a node grows', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', { requests: vector({ cpuMillis: 6_000 }) }));
      const capacity = vector({ cpuMillis: 8_000, memoryBytes: 8e9, diskBytes: 0, pids: 100 });
      const grown = { node: 'n1', capacity, runtimes: [{ name: 'zones', version: '1', features: {} }] };
      expect(placements(cluster.give({ type: 'NodeCapacityChanged', data: grown }))).toEqual({ a: 'n1' });
    });
    test('an instance that was placed on a node since shrunk stays, and nothing new comes', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', full));
      const capacity = vector({ cpuMillis: 2_000, memoryBytes: 8e9 });
      const shrunk = { node: 'n1', capacity, runtimes: [{ name: 'zones', version: '1', features: {} }] };
      const decided = cluster.give({ type: 'NodeCapacityChanged', data: shrunk }, requested('b'));
      expect(placements(decided)).toEqual({});
      expect(of('InstancePreempted', decided)).toEqual([]);
    });
  });
}
