import type { Constraint } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { matches, type NodeTraits, Requirement } from './requirement.ts';

const attributes = { zone: 'a', cores: '16', word: 'many' };
const constraint = (attribute: string, operator: Constraint['operator'], ...values: string[]): Constraint => ({
  attribute,
  operator,
  values,
});

describe('constraints on attributes', () => {
  it.each<[Constraint, boolean]>([
    [constraint('zone', 'in', 'a', 'b'), true],
    [constraint('zone', 'in', 'b'), false],
    [constraint('zone', 'in'), false],
    [constraint('none', 'in', 'a'), false],
    [constraint('zone', 'not-in', 'a'), false],
    [constraint('none', 'not-in', 'a'), true],
    [constraint('zone', 'exists'), true],
    [constraint('none', 'exists'), false],
    [constraint('none', 'not-exists'), true],
    [constraint('zone', 'not-exists'), false],
    [constraint('cores', 'gt', '8'), true],
    [constraint('cores', 'gt', '16'), false],
    [constraint('cores', 'lt', '17'), true],
    [constraint('word', 'gt', '1'), false],
    [constraint('word', 'lt', '1'), false],
    [constraint('none', 'lt', '1'), false],
    // what every object has is not an attribute of a node
    [constraint('constructor', 'exists'), false],
    [constraint('toString', 'not-in', 'x'), true],
  ])('%j', (given, expected) => expect(matches(given, attributes)).toBe(expected));
});

describe('a requirement', () => {
  const node = (zone: string, ...runtimes: string[]): NodeTraits => ({
    state: 'ready',
    attributes: { zone },
    runtimes: new Set(runtimes),
  });

  it('knows which nodes meet it, and follows what they come to be', () => {
    const nodes = [node('a', 'zones'), node('b', 'zones'), node('a', 'docker'), node('a')];
    const inA = new Requirement('', 'zones', [constraint('zone', 'in', 'a')], nodes);
    expect([0, 1, 2, 3].map((slot) => inA.metBy(slot))).toEqual([true, false, false, false]);
    nodes[1] = node('a', 'zones');
    nodes[0] = node('c', 'zones');
    inA.review(0);
    inA.review(1);
    expect([inA.metBy(0), inA.metBy(1), inA.count]).toEqual([false, true, 1]);
  });

  it('without a runtime is met by nodes that have one, whichever', () => {
    const either = new Requirement('', undefined, [], [node('a', 'docker'), node('a')]);
    expect([either.metBy(0), either.metBy(1)]).toEqual([true, false]);
  });

  it('takes nodes beyond those that it was made with', () => {
    const nodes: NodeTraits[] = [];
    const all = new Requirement('', undefined, [], nodes);
    for (let slot = 0; slot < 5_000; slot++) {
      nodes.push(node('a', 'zones'));
      all.review(slot);
    }
    expect([all.count, all.metBy(4_999), all.metBy(5_000)]).toEqual([5_000, true, false]);
  });
});
