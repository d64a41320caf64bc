import { describe, expect, it } from 'vitest';
import { clusterSnapshot } from './cluster-snapshot.ts';
import { chance, cluster, give, joined, placed, removed, requested, vector, withdrawn } from './placement.fixture.ts';

const free = (of: ReturnType<typeof cluster>, node = 'n1') => of.nodes.free[of.nodes.slotOf(node) * 4];

describe('the cluster', () => {
  it('takes an event about what it does not know for nothing', () => {
    const some = give(cluster(), joined('n1'), placed('ghost', 'n1'), removed('ghost', 'n1'), withdrawn('ghost'));
    expect([some.instances.size, free(some)]).toEqual([0, 4_000]);
    give(some, requested('a'), placed('a', 'nowhere'));
    expect(some.instances.has('a')).toBe(false);
    give(some, { type: 'NodeLost', data: { node: 'nowhere', reason: '' } });
  });

  it('takes a second request of one instance for the first', () => {
    const some = give(cluster(), requested('a'), requested('a', { requests: vector(9) }));
    expect([some.requested, some.instances.get('a')!.shape.cpu]).toEqual([1, 1_000]);
  });

  it('moves what is placed elsewhere, and believes only the node that has it that it is gone', () => {
    const some = give(cluster(), joined('n1'), joined('n2'), requested('a'), placed('a', 'n1'), placed('a', 'n2'));
    expect([free(some), free(some, 'n2')]).toEqual([4_000, 3_000]);
    give(some, removed('a', 'n1'));
    expect(some.instances.has('a')).toBe(true);
    give(some, removed('a', 'n2'));
    expect([some.instances.size, free(some, 'n2'), some.workloads.size]).toEqual([0, 4_000, 0]);
  });

  it('has what leaves keep its place until it is gone', () => {
    const some = give(cluster(), joined('n1'), requested('a'), placed('a', 'n1'), withdrawn('a'), withdrawn('a'));
    expect([free(some), some.instances.get('a')!.phase, some.workloads.get('default/w')!.placed]).toEqual([
      3_000,
      'leaving',
      0,
    ]);
  });

  it('forgets what was on a node that is lost', () => {
    const some = give(cluster(), joined('n1'), requested('a'), requested('b'), placed('a', 'n1'), placed('b', 'n1'));
    give(some, withdrawn('b'), { type: 'NodeLost', data: { node: 'n1', reason: '' } });
    expect([some.instances.size, free(some)]).toEqual([0, 4_000]);
  });

  it('gives what was tried out back to whoever comes in between', () => {
    const some = give(cluster(), joined('n1'), requested('a'), requested('b'));
    const [a, b] = ['a', 'b'].map((id) => some.instances.get(id)!) as [never, never];
    for (const record of [a, b]) some.occupy(record, 0);
    some.tentative.keep([a, b], [0, 0]);
    expect(free(some)).toBe(2_000);
    give(some, placed('a', 'n1'));
    expect(free(some)).toBe(2_000);
    give(some, withdrawn('b'));
    expect([free(some), some.instances.has('b')]).toEqual([3_000, false]);
  });

  it('tried out on one node and told of another, an instance is where the log says', () => {
    const some = give(cluster(), joined('n1'), joined('n2'), requested('a'));
    const record = some.instances.get('a')!;
    some.occupy(record, 0);
    some.tentative.keep([record], [0]);
    give(some, placed('a', 'n2'));
    expect([free(some, 'n1'), free(some, 'n2')]).toEqual([4_000, 3_000]);
  });

  it.each([1, 2, 3])('a snapshot says the same as the log (seed %i)', (seed) => {
    const random = chance(seed);
    const options = { tiers: 2, tierOf: (priority: number) => (priority >= 200 ? 1 : 0), domains: ['zone'] };
    const snapshot = clusterSnapshot(options);
    let some = cluster(options);
    for (let at = 0; at < 4; at++) give(some, joined(`n${at}`, { attributes: { zone: `z${at % 2}` } }));
    for (let step = 0; step < 300; step++) {
      const [dice, node] = [random(10), `n${random(4)}`];
      const one = [...some.instances.values()][random(Math.max(1, some.instances.size))];
      if (dice < 4) give(some, requested(`i${step}`, { workload: `default/w${random(5)}`, priority: random(400) }));
      else if (dice < 7 && one?.phase === 'pending') give(some, placed(one.id, node));
      else if (dice === 7 && one) give(some, withdrawn(one.id));
      else if (dice === 8 && one && one.slot >= 0) give(some, removed(one.id, some.nodes.facts[one.slot]!.id));
      else if (dice === 9) give(some, { type: 'NodeCordoned', data: { node, reason: '', drain: random(2) === 0 } });
      if (step % 30 !== 0) continue;
      const saved = JSON.parse(JSON.stringify(snapshot.save(some)));
      const loaded = snapshot.load(saved);
      expect(JSON.parse(JSON.stringify(snapshot.save(loaded)))).toEqual(saved);
      expect([...loaded.nodes.free]).toEqual([...some.nodes.free]);
      some = random(2) ? loaded : some;
    }
  });
});
