import { describe, expect, it } from 'vitest';
import { type YarnConfig, yarnConfig } from '../config.ts';
import { queueFor } from './queue-placement.ts';
import { QueueTree } from './queue-tree.ts';

const none = { quotas: new Map(), stopped: new Set<string>() };
const configOf = (given: unknown): YarnConfig => yarnConfig.parse(given);
const treeOf = (given: unknown, totals = [1_000, 2_000]) => {
  const tree = new QueueTree(configOf(given));
  for (const queue of tree.queues) queue.reset(tree.labels.length);
  tree.recompute(Float64Array.from(totals), none);
  return tree;
};
const amounts = (tree: QueueTree, which: 'guaranteed' | 'maximum') =>
  Object.fromEntries([...tree.queues].map((queue) => [queue.path, [...queue[which]]]));

describe('capacities of queues', () => {
  it('are shares of the parent, down the tree', () => {
    const tree = treeOf({
      queues: [
        { path: 'root.a', capacity: '40%', maximumCapacity: '50%' },
        { path: 'root.a.x', capacity: '25%' },
        { path: 'root.a.y', capacity: 75, maximumCapacity: '50%' },
        { path: 'root.b', capacity: '60%' },
      ],
    });
    expect(amounts(tree, 'guaranteed')).toEqual({
      root: [1_000, 2_000],
      'root.a': [400, 800],
      'root.a.x': [100, 200],
      'root.a.y': [300, 600],
      'root.b': [600, 1_200],
    });
    const infinite = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    expect(amounts(tree, 'maximum')).toMatchObject({
      'root.a': [500, 1_000],
      'root.a.x': [500, 1_000],
      'root.a.y': [250, 500],
      'root.b': infinite,
    });
  });

  it('are weights among siblings', () => {
    const tree = treeOf({ queues: [{ path: 'root.a', capacity: '3w' }, { path: 'root.b' }] });
    expect(amounts(tree, 'guaranteed')).toMatchObject({ 'root.a': [750, 1_500], 'root.b': [250, 500] });
  });

  it('are absolute, and cut where the parent has less', () => {
    const queues = [
      { path: 'root.a', capacity: { cpuMillis: 300, memoryBytes: 2_000 }, maximumCapacity: { cpuMillis: 800 } },
      { path: 'root.b', capacity: { cpuMillis: 300, memoryBytes: 2_000 } },
    ];
    const tree = treeOf({ queues });
    expect(amounts(tree, 'guaranteed')).toMatchObject({ 'root.a': [300, 1_000], 'root.b': [300, 1_000] });
    expect(amounts(tree, 'maximum')['root.a']).toEqual([800, Number.POSITIVE_INFINITY]);
  });

  it('are told for each label', () => {
    const queues = [
      { path: 'root.a', capacity: '50%', labels: { gpu: { capacity: '100%', maximumCapacity: '50%' } } },
      { path: 'root.b', capacity: '50%', accessibleNodeLabels: [] },
    ];
    const tree = treeOf({ queues, nodeLabels: { labels: [{ name: 'gpu' }] } }, [1_000, 2_000, 80, 160]);
    expect(amounts(tree, 'guaranteed')).toMatchObject({
      'root.a': [500, 1_000, 80, 160],
      'root.b': [500, 1_000, 0, 0],
    });
    expect(amounts(tree, 'maximum')['root.a']?.slice(2)).toEqual([40, 80]);
    expect(amounts(tree, 'maximum')['root.b']?.slice(2)).toEqual([0, 0]);
  });

  it('follow what owners are promised', () => {
    const tree = new QueueTree(configOf({ queues: [{ path: 'root.a' }, { path: 'root.b' }] }));
    for (const queue of tree.queues) queue.reset(1);
    const quotas = new Map([
      ['a', { owner: 'a', limit: { cpuMillis: 600 }, weight: 4 }],
      ['b', { owner: 'b', limit: {}, guarantee: { cpuMillis: 100 } }],
    ]);
    tree.recompute(Float64Array.from([1_000, 2_000]), { quotas, stopped: new Set(['b']) });
    expect(amounts(tree, 'guaranteed')).toMatchObject({ 'root.a': [800, 1_600], 'root.b': [100, 0] });
    expect(tree.get('root.a')!.maximum[0]).toBe(600);
    expect([tree.get('root.a')!.stopped, tree.get('root.b')!.stopped]).toEqual([false, true]);
  });

  it.each([
    [
      [
        { path: 'root.a', capacity: '40%' },
        { path: 'root.b', capacity: '50%' },
      ],
      'add up to 90 %',
    ],
    [
      [
        { path: 'root.a', capacity: '40%' },
        { path: 'root.b', capacity: '1w' },
      ],
      'not several of them',
    ],
    [[{ path: 'root.a' }, { path: 'root.a' }], 'given twice'],
    [[{ path: 'root.a', capacity: 'much' }], 'is not a capacity'],
    [[{ path: 'root.a', defaultNodeLabel: 'gpu' }], 'label gpu is not among'],
    [[{ path: 'root.a', schedulingPolicy: 'capacity' }], 'takes fifo, fair or drf'],
  ])('%j are refused', (queues, message) => {
    expect(() => new QueueTree(configOf({ queues }))).toThrow(message);
  });
});

describe('placement rules', () => {
  const place = (given: object, owner: string | undefined, user = 'ann') => {
    const config = configOf(given);
    const found = queueFor(new QueueTree(config), config, { owner, user });
    return typeof found === 'string' ? found : found.path;
  };
  const queues = [{ path: 'root.default' }, { path: 'root.eng.web' }, { path: 'root.sales' }];

  it('send a workload to the queue of its owner, else to the default', () => {
    expect(place({ queues }, 'eng/web')).toBe('root.eng.web');
    expect(place({ queues }, 'nobody-knows')).toBe('root.default');
    expect(place({ queues }, undefined)).toBe('root.default');
  });

  it('skip a queue that has queues below it', () => {
    expect(place({ queues }, 'eng')).toBe('root.default');
  });

  it('make queues that are not there, if they may', () => {
    expect(place({ queues, placementRules: [{ rule: 'specified' }] }, 'new/team')).toBe('root.new.team');
    expect(place({ queues, placementRules: [{ rule: 'specified', create: false }] }, 'new')).toBe(
      'no placement rule gives it a queue',
    );
    expect(place({ queues, placementRules: [{ rule: 'user' }], dynamicQueuesMax: 0 }, undefined)).toMatch(
      'no placement',
    );
  });

  it('know users and groups', () => {
    const groups = { ann: ['eng', 'sales'] };
    expect(place({ queues, placementRules: [{ rule: 'user' }] }, undefined)).toBe('root.ann');
    expect(place({ groups, placementRules: [{ rule: 'primaryGroup' }] }, undefined)).toBe('root.eng');
    const secondary = [{ rule: 'secondaryGroupExistingQueue', create: false }];
    expect(place({ queues, groups, placementRules: secondary }, undefined)).toBe('root.sales');
    const nested = [{ rule: 'nestedUserQueue', nested: 'primaryGroup' }];
    expect(place({ queues, groups, placementRules: nested }, undefined, 'a.nn')).toMatch('no placement rule');
    expect(place({ queues, groups, placementRules: nested }, undefined)).toBe('root.eng.ann');
  });

  it('reject', () => {
    const placementRules = [{ rule: 'specified', create: false }, { rule: 'reject' }];
    expect(place({ queues, placementRules }, 'unknown')).toBe('the placement rules reject it');
  });
});
