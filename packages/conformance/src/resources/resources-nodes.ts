import type { NewEvent } from '@cloudos/sdk';
import { describe, expect, test } from 'vitest';
import type { ResourcesSuite } from '../resources.conformance.ts';
import { guestRemoved, joined, of, placements, requested, vector, withdrawn } from './resources-harness.ts';

const lost = (node: string): NewEvent => ({ type: 'NodeLost', data: { node, reason: 'no answer' } });
const full = { requests: vector({ cpuMillis: 4_000 }) };

/** Cordons, drains, losses, preemption. */
export function nodeTests(suite: ResourcesSuite): void {
  describe('cordon', () => {
    test('nothing new comes to a cordoned node; what is there stays', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a'));
      const { decided } = cluster.command({ type: 'CordonNode', node: 'n1', reason: 'repair' });
      expect(of('NodeCordoned', decided)).toMatchObject([{ node: 'n1', reason: 'repair' }]);
      expect(of('InstancePreempted', decided)).toEqual([]);
      const waiting = of('InstanceUnplaceable', cluster.give(requested('b')));
      expect(waiting).toMatchObject([{ instance: 'b', reasons: [{ constraint: 'cordoned', nodes: 1 }] }]);
      const again = cluster.command({ type: 'UncordonNode', node: 'n1' }).decided;
      expect(of('NodeUncordoned', again)).toEqual([{ node: 'n1' }]);
      expect(placements(again)).toEqual({ b: 'n1' });
    });
    test('what is so already needs no event', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'));
      expect(cluster.command({ type: 'UncordonNode', node: 'n1' })).toEqual({ decided: [], refused: undefined });
      cluster.command({ type: 'CordonNode', node: 'n1', reason: '' });
      expect(cluster.command({ type: 'CordonNode', node: 'n1', reason: '' })).toEqual({
        decided: [],
        refused: undefined,
      });
    });
    test('an unknown node is refused, and the known ones are named', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), joined('n2'));
      for (const type of ['CordonNode', 'UncordonNode', 'DrainNode'] as const) {
        const { refused, decided } = cluster.command({ type, node: 'n7', reason: '' });
        expect(decided).toEqual([]);
        expect(refused).toMatchObject({ code: 'NODE_NOT_FOUND' });
        expect(refused?.message).toMatch(/n7.*n1.*n2/);
      }
    });
  });
  drainTests(suite);
  lossTests(suite);
  preemptionTests(suite);
}

function drainTests(suite: ResourcesSuite): void {
  describe('drain', () => {
    test('instances move away, and the node is drained when the last has left', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a'), requested('b'));
      const { decided } = cluster.command({ type: 'DrainNode', node: 'n1', reason: 'upgrade' });
      expect(of('NodeCordoned', decided)).toMatchObject([{ node: 'n1', drain: true }]);
      const evicted = of('InstancePreempted', decided);
      expect(evicted.map(({ instance }) => instance).sort()).toEqual(['a', 'b']);
      for (const { node, reason } of evicted) expect([node, reason]).toEqual(['n1', 'drain']);
      expect(of('NodeDrained', decided)).toEqual([]);
      expect(of('NodeDrained', cluster.give(guestRemoved('a', 'n1')))).toEqual([]);
      expect(of('NodeDrained', cluster.give(guestRemoved('b', 'n1')))).toEqual([{ node: 'n1' }]);
      expect(cluster.settle()).toEqual([]);
    });
    test('an empty node is drained at once, and once', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'));
      const { decided } = cluster.command({ type: 'DrainNode', node: 'n1', reason: '' });
      expect(decided.map(({ type }) => type)).toEqual(['NodeCordoned', 'NodeDrained']);
      expect(cluster.command({ type: 'DrainNode', node: 'n1', reason: '' }).decided).toEqual([]);
    });
    test('a cordoned node can be drained', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a'));
      cluster.command({ type: 'CordonNode', node: 'n1', reason: '' });
      const { decided } = cluster.command({ type: 'DrainNode', node: 'n1', reason: '' });
      expect(of('InstancePreempted', decided)).toMatchObject([{ instance: 'a' }]);
    });
    test('replacements go elsewhere, and come back after the node takes instances again', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', full));
      cluster.command({ type: 'DrainNode', node: 'n1', reason: '' });
      expect(placements(cluster.give(requested('a2', full), joined('n2')))).toEqual({ a2: 'n2' });
      cluster.give(guestRemoved('a', 'n1'));
      cluster.command({ type: 'UncordonNode', node: 'n1' });
      expect(placements(cluster.give(requested('a3', full)))).toEqual({ a3: 'n1' });
    });
    test('instances that leave anyway are not preempted', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a'), withdrawn('a'));
      expect(of('InstancePreempted', cluster.command({ type: 'DrainNode', node: 'n1', reason: '' }).decided)).toEqual(
        [],
      );
    });
  });
}

function lossTests(suite: ResourcesSuite): void {
  describe('loss of a node', () => {
    test('nothing is placed there, and its instances are forgotten', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', full));
      expect(placements(cluster.give(lost('n1'), requested('b', full)))).toEqual({});
      expect(placements(cluster.give(joined('n1')))).toEqual({ b: 'n1' });
      expect(cluster.give(guestRemoved('a', 'n1'), withdrawn('a'))).toEqual([]);
    });
    test('the reasons say that the node is lost', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), lost('n1'));
      const [told] = of('InstanceUnplaceable', cluster.give(requested('a')));
      expect(told?.reasons).toMatchObject([{ constraint: 'lost', nodes: 1 }]);
    });
    test('a node that left is not known any more', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), joined('n2'), { type: 'NodeLeft', data: { node: 'n1', reason: '' } });
      expect(cluster.command({ type: 'CordonNode', node: 'n1', reason: '' }).refused).toMatchObject({
        code: 'NODE_NOT_FOUND',
      });
      expect(placements(cluster.give(requested('a')))).toEqual({ a: 'n2' });
    });
    test('a cordon outlasts the loss', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'));
      cluster.command({ type: 'CordonNode', node: 'n1', reason: '' });
      expect(placements(cluster.give(lost('n1'), joined('n1'), requested('a')))).toEqual({});
    });
  });
}

function preemptionTests(suite: ResourcesSuite): void {
  const important = { ...full, priority: 300 };
  const humble = { ...full, priority: 10 };
  describe('preemption', () => {
    test.runIf(suite.supports.preemption)('the important one gets the place when the other is gone, not before', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('humble', humble));
      const decided = cluster.give(requested('important', important));
      expect(of('InstancePreempted', decided)).toMatchObject([{ instance: 'humble', node: 'n1', by: 'important' }]);
      expect(placements(decided)).toEqual({});
      expect(cluster.settle()).toEqual([]);
      expect(placements(cluster.give(requested('other', humble)))).toEqual({});
      expect(placements(cluster.give(guestRemoved('humble', 'n1')))).toEqual({ important: 'n1' });
    });
    test.runIf(suite.supports.preemption)(
      'nobody is preempted while there is room elsewhere, and no more than needed',
      () => {
        const cluster = suite.harness();
        const half = { priority: 10, requests: vector({ cpuMillis: 2_000 }) };
        cluster.give(joined('n1'), requested('a', half), requested('b', half));
        cluster.give(joined('n2'));
        expect(of('InstancePreempted', cluster.give(requested('first', important)))).toEqual([]);
        const decided = cluster.give(requested('second', { priority: 300, requests: vector({ cpuMillis: 1_500 }) }));
        expect(of('InstancePreempted', decided)).toHaveLength(1);
      },
    );
    test.runIf(suite.supports.preemption)('equals are never preempted', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('a', important));
      const decided = cluster.give(requested('b', important));
      expect(of('InstancePreempted', decided)).toEqual([]);
      expect(of('InstanceUnplaceable', decided)).toMatchObject([{ instance: 'b' }]);
    });
    test.runIf(suite.supports.preemption)('room is kept for the one for whom others were preempted', () => {
      const cluster = suite.harness();
      const half = { priority: 10, requests: vector({ cpuMillis: 2_000 }) };
      cluster.give(joined('n1'), requested('a', half), requested('b', half));
      const decided = cluster.give(requested('important', important));
      expect(of('InstancePreempted', decided)).toHaveLength(2);
      const between = cluster.give(guestRemoved('a', 'n1'), requested('c', { ...half, priority: 150 }));
      expect(placements(between)).toEqual({});
      expect(placements(cluster.give(guestRemoved('b', 'n1')))).toEqual({ important: 'n1' });
    });
    test.runIf(suite.supports.preemption)(
      'one for whom others were preempted and who is withdrawn leaves the room to others',
      () => {
        const cluster = suite.harness();
        cluster.give(joined('n1'), requested('humble', humble));
        cluster.give(requested('important', important), requested('next', humble));
        expect(placements(cluster.give(withdrawn('important'), guestRemoved('humble', 'n1')))).toEqual({ next: 'n1' });
      },
    );
    test.skipIf(suite.supports.preemption)('nobody is ever preempted for another', () => {
      const cluster = suite.harness();
      cluster.give(joined('n1'), requested('humble', humble));
      const decided = cluster.give(requested('important', important));
      expect(of('InstancePreempted', decided)).toEqual([]);
      expect(of('InstanceUnplaceable', decided)).toMatchObject([{ instance: 'important' }]);
    });
  });
}
