import { describe, expect, it } from 'vitest';
import { NodeTable } from './node-table.ts';
import { chance, gib, shape, vector } from './placement.fixture.ts';
import { Requirement } from './requirement.ts';
import { Shape } from './shape.ts';

/** One node of four cores that is open, and what asks of it. */
function table(some: Parameters<typeof vector>[1] = {}, lends = false) {
  const nodes = new NodeTable(2, ['zone'], lends);
  const slot = nodes.ensure('n1');
  nodes.facts[slot]!.state = 'ready';
  nodes.describe(slot, vector(4_000, { memoryBytes: 8 * gib, diskBytes: gib, pids: 100, ...some }), ['zones'], {});
  const requirement = new Requirement('', undefined, [], nodes.facts);
  const ask = (requests: ReturnType<typeof vector>, hostPorts: number[] = []) =>
    new Shape('', { requests, hostPorts }, requirement);
  return { nodes, slot, ask };
}

describe('the table of nodes', () => {
  it('gives a name its slot for ever', () => {
    const nodes = new NodeTable(1, []);
    expect([nodes.ensure('a'), nodes.ensure('b'), nodes.ensure('a')]).toEqual([0, 1, 0]);
    expect([nodes.slotOf('b'), nodes.slotOf('b', 0), nodes.slotOf('b', 1), nodes.slotOf('c')]).toEqual([1, 1, 1, -1]);
  });

  it('is exact: giving back undoes taking, in every dimension and however often', () => {
    const { nodes, slot, ask } = table({ custom: { gpu: 8 } });
    const before = [...nodes.free];
    const random = chance(7);
    const held = Array.from({ length: 500 }, () =>
      ask(vector(random(3_000) / 7, { memoryBytes: random(gib) / 3, pids: random(9), custom: { gpu: random(3) } })),
    );
    for (const each of held) nodes.take(slot, each, random(2));
    expect(nodes.free[0]).toBeLessThan(0);
    const sums = [...nodes.used];
    for (let at = 0; at < sums.length; at++) {
      expect(nodes.free[at]).toBe(nodes.capacity[at]! - sums[at]!);
    }
    for (const each of held.reverse()) nodes.give(slot, each, 0);
    expect([...nodes.free]).toEqual(before);
    expect(nodes.custom('gpu').leftOf(slot)).toBe(8);
  });

  it('counts in whole units: amounts asked for are rounded up, what a node has is rounded down', () => {
    const { nodes, slot, ask } = table();
    nodes.describe(slot, vector(1_000.9, { memoryBytes: gib }), ['zones']);
    nodes.take(slot, ask(vector(0.2)), 0);
    expect(nodes.free[0]).toBe(999);
    expect(nodes.fits(slot, ask(vector(999)))).toBe(true);
    expect(nodes.fits(slot, ask(vector(999.5)))).toBe(false);
  });

  it('keeps what is reserved beyond what leaves, and shows it to those for whom it is', () => {
    const { nodes, slot, ask } = table();
    const [half, whole] = [ask(vector(2_000)), ask(vector(4_000))];
    nodes.take(slot, half, 0);
    nodes.leave(slot, half, 1);
    expect(nodes.free[0]).toBe(2_000);
    nodes.reserve(slot, whole, 1);
    expect(nodes.free[0]).toBe(0);
    expect(nodes.fits(slot, ask(vector(1)))).toBe(false);
    expect(nodes.fitsReserved(slot, whole)).toBe(false);
    nodes.leave(slot, half, -1);
    nodes.give(slot, half, 0);
    expect(nodes.fitsReserved(slot, whole)).toBe(true);
    nodes.reserve(slot, whole, -1);
    expect(nodes.free[0]).toBe(4_000);
  });

  it('lets who asks for nothing of a resource onto a node that has less than nothing of it', () => {
    const { nodes, slot, ask } = table();
    nodes.take(slot, ask(vector(4_000)), 0);
    nodes.describe(slot, vector(1_000, { memoryBytes: gib }), ['zones']);
    expect(nodes.free[0]).toBe(-3_000);
    expect(nodes.fits(slot, ask(vector(0, { memoryBytes: 1 })))).toBe(true);
    expect(nodes.fits(slot, ask(vector(1)))).toBe(false);
  });

  it('gives a port of the node to one at a time', () => {
    const { nodes, slot, ask } = table();
    const web = ask(vector(1), [80, 443]);
    nodes.take(slot, web, 0);
    expect(nodes.fits(slot, ask(vector(1), [443]))).toBe(false);
    expect(nodes.heldPorts(slot, ask(vector(1), [22, 443]))).toEqual([443]);
    nodes.give(slot, web, 0);
    expect(nodes.facts[slot]!.ports).toBeUndefined();
  });

  it('takes nothing while a node is cordoned, lost or gone', () => {
    const { nodes, slot, ask } = table();
    for (const change of [
      { cordoned: true },
      { cordoned: false, state: 'lost' as const },
      { state: 'left' as const },
    ]) {
      Object.assign(nodes.facts[slot]!, change);
      nodes.refresh(slot);
      expect(nodes.fits(slot, ask(vector(1)))).toBe(false);
    }
  });

  it('lends what is idle, to those who look at what is to spare', () => {
    const { nodes, slot, ask } = table({}, true);
    nodes.take(slot, ask(vector(4_000)), 1);
    nodes.lend(slot, 3_000, 0);
    expect(nodes.fits(slot, ask(vector(1)))).toBe(false);
    expect(nodes.fits(slot, ask(vector(3_000)), nodes.spare)).toBe(true);
    nodes.lend(slot, -3_000, 0);
    expect(nodes.fits(slot, ask(vector(1)), nodes.spare)).toBe(false);
  });

  it('notes each change of a sum', () => {
    const { nodes, slot } = table();
    const [stamp, changes] = [nodes.stamps[slot]!, nodes.changes];
    nodes.take(slot, shape(vector(1)), 0);
    nodes.give(slot, shape(vector(1)), 0);
    expect([nodes.stamps[slot]! - stamp, nodes.changes - changes]).toEqual([2, 2]);
  });
});
