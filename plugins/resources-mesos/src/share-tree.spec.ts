import { SeededRandom } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { Bundle } from './bundle.ts';
import { type ShareNode, ShareTree } from './share-tree.ts';

const bundle = (cpuMillis: number, memoryBytes: number, custom: Record<string, number> = {}) =>
  Bundle.of({ cpuMillis, memoryBytes, diskBytes: 0, pids: 0, custom });

/** The order by its definition: at each level the sibling with the smallest weighted dominant share. */
function nextBySorting(node: ShareNode, total: Bundle): ShareNode | undefined {
  const wanting = [...node.children.values()].filter(({ at }) => at >= 0);
  const share = ({ allocated, weight }: ShareNode) =>
    Math.max(
      allocated.plain[0]! / total.plain[0]!,
      allocated.plain[1]! / total.plain[1]!,
      allocated.amountOf('gpu') / total.amountOf('gpu'),
    ) / weight;
  const [first] = wanting.sort((a, b) => share(a) - share(b) || (a.path < b.path ? -1 : 1));
  return first ? (nextBySorting(first, total) ?? first) : undefined;
}

describe('the share tree', () => {
  it('gives each user of the paper the allocation that dominant resource fairness gives (NSDI 2011, figure 3)', () => {
    const tree = new ShareTree([]);
    tree.changeTotal(bundle(9_000, 18), 1);
    const [a, b] = [tree.client('a', ''), tree.client('b', '')];
    const demand = new Map([
      [a, bundle(1_000, 4)],
      [b, bundle(3_000, 1)],
    ]);
    const left = bundle(9_000, 18);
    const given = new Map([
      [a, 0],
      [b, 0],
    ]);
    for (const client of demand.keys()) tree.want(client, true);
    for (let next = tree.next(); next; next = tree.next()) {
      const wanted = demand.get(next)!;
      if (!left.covers(wanted)) {
        tree.want(next, false);
        continue;
      }
      left.add(wanted, -1);
      tree.charge(next, wanted, 1);
      given.set(next, given.get(next)! + 1);
    }
    expect([given.get(a), given.get(b)]).toEqual([3, 2]);
  });

  it('compares roles at each level, sub-roles within their parent, by weight', () => {
    const tree = new ShareTree([]);
    tree.changeTotal(bundle(1_000, 1_000), 1);
    const [eng, sub, ads] = [tree.client('eng', ''), tree.client('eng/web', ''), tree.client('ads', '')];
    for (const client of [eng, sub, ads]) tree.want(client, true);
    tree.charge(sub, bundle(300, 0), 1);
    tree.charge(ads, bundle(200, 0), 1);
    expect(tree.next()).toBe(ads);
    tree.setWeight('eng', 2);
    expect(tree.next()).toBe(eng);
    tree.want(eng, false);
    expect(tree.next()).toBe(sub);
  });

  it('leaves out what does not count', () => {
    const tree = new ShareTree(['gpu', 'memory']);
    tree.changeTotal(bundle(1_000, 1_000, { gpu: 2 }), 1);
    const client = tree.client('a', '');
    tree.charge(client, bundle(100, 900, { gpu: 2 }), 1);
    expect(tree.shareOf(client)).toBeCloseTo(0.1);
  });

  it.each([1, 2, 3, 4])('agrees with sorting over a history by chance (seed %i)', (seed) => {
    const random = new SeededRandom(seed);
    const tree = new ShareTree([]);
    const total = bundle(50_000, 90_000, { gpu: 100 });
    tree.changeTotal(total, 1);
    const roles = ['a', 'a/b', 'a/b/c', 'a/d', 'e', 'f', 'f/g'];
    const clients = roles.flatMap((role) => ['', 'fw-1', 'fw-2'].map((framework) => tree.client(role, framework)));
    const charges: [ShareNode, Bundle][] = [];
    for (let step = 0; step < 2_000; step++) {
      const client = clients[random.int(clients.length)]!;
      const dice = random.int(10);
      if (dice < 4) tree.want(client, random.int(3) > 0);
      else if (dice < 8) {
        const amounts = bundle(random.int(50), random.int(50), random.int(4) === 0 ? { gpu: random.int(3) } : {});
        tree.charge(client, amounts, 1);
        charges.push([client, amounts]);
      } else if (dice === 8 && charges.length > 0) {
        const [[charged, amounts] = []] = charges.splice(random.int(charges.length), 1);
        tree.charge(charged!, amounts!, -1);
      } else tree.setWeight(roles[random.int(roles.length)]!, 1 + random.int(4));
      expect(tree.next()?.path).toBe(nextBySorting(tree.root, total)?.path);
    }
  });
});
