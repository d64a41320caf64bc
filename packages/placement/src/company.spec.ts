import type { PlacementRule } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { cluster, give, joined, placed, removed, requested, withdrawn } from './placement.fixture.ts';

const zones = [
  joined('a1', { attributes: { zone: 'a' } }),
  joined('a2', { attributes: { zone: 'a' } }),
  joined('b1', { attributes: { zone: 'b' } }),
  joined('none'),
];
const rule = (some: Partial<PlacementRule>): PlacementRule[] => [
  { scope: 'zone', tags: ['db'], required: true, ...some },
];
const db = (name: string, some: object = {}) => requested(name, { workload: 'default/db', tags: ['db', 'x'], ...some });

/** Names of the nodes where the company of the instance lets it be. */
function allowed(of: ReturnType<typeof cluster>, instance: string): string[] {
  const record = of.instances.get(instance)!;
  return of.nodes.facts.flatMap(({ id }, slot) => (of.companyAllows(record, slot) ? [id] : []));
}

describe('rules about company', () => {
  it('max: 0 keeps away, both ways, until the last is gone', () => {
    const some = give(
      cluster(),
      ...zones,
      db('d1'),
      placed('d1', 'a1'),
      requested('w', { placement: rule({ max: 0 }) }),
    );
    expect(allowed(some, 'w')).toEqual(['b1', 'none']);
    give(some, placed('w', 'b1'), db('d2'));
    expect(allowed(some, 'd2')).toEqual(['a1', 'a2', 'none']);
    give(some, withdrawn('w'));
    expect(allowed(some, 'd2')).toEqual(['a1', 'a2', 'none']);
    give(some, removed('w', 'b1'));
    expect(allowed(some, 'd2')).toEqual(['a1', 'a2', 'b1', 'none']);
  });

  it('min asks for company in the domain; those who leave do not count, and no domain has none', () => {
    const some = give(cluster(), ...zones, requested('w', { placement: rule({ min: 1 }) }));
    expect(allowed(some, 'w')).toEqual([]);
    give(some, db('d1'), placed('d1', 'a1'));
    expect(allowed(some, 'w')).toEqual(['a1', 'a2']);
    give(some, withdrawn('d1'));
    expect(allowed(some, 'w')).toEqual([]);
  });

  it('an affinity to its like is met anywhere while there is none', () => {
    const some = give(cluster(), ...zones, db('d1', { placement: rule({ min: 1 }) }));
    expect(allowed(some, 'd1')).toEqual(['a1', 'a2', 'b1']);
    give(some, placed('d1', 'b1'), db('d2', { placement: rule({ min: 1 }) }));
    expect(allowed(some, 'd2')).toEqual(['b1']);
  });

  it('all of the tags have to be there', () => {
    const some = give(cluster(), ...zones, db('d1'), placed('d1', 'a1'));
    give(some, requested('w', { placement: rule({ max: 0, tags: ['db', 'x'] }) }));
    give(some, requested('v', { placement: rule({ max: 0, tags: ['db', 'y'] }) }));
    expect(allowed(some, 'w')).toEqual(['b1', 'none']);
    expect(allowed(some, 'v')).toEqual(['a1', 'a2', 'b1', 'none']);
  });

  it('maxSkew counts from the domain with the fewest that has nodes', () => {
    const spread = { placement: rule({ maxSkew: 1 }) };
    const some = give(cluster(), ...zones, db('d1', spread), placed('d1', 'a1'), db('d2', spread));
    expect(allowed(some, 'd2')).toEqual(['b1']);
    give(some, { type: 'NodeLost', data: { node: 'b1', reason: '' } });
    // b1 itself is another matter: nothing goes to a node that is lost
    expect(allowed(some, 'd2')).toEqual(expect.arrayContaining(['a1', 'a2']));
  });

  it('follow a node that comes to be in another domain', () => {
    const some = give(
      cluster(),
      ...zones,
      db('d1'),
      placed('d1', 'a1'),
      requested('w', { placement: rule({ max: 0 }) }),
    );
    give(some, joined('a1', { attributes: { zone: 'b' } }));
    expect(allowed(some, 'w')).toEqual(['a2', 'none']);
  });
});
