import { guestRemoved, instancePlaced, instanceWithdrawn, nodeJoined } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { ask, gib, many, node, placed, shares, spec, told } from './yarn.fixture.ts';

describe('capacity of queues', () => {
  it('decides who is served first: the queue that has least of what it is guaranteed', () => {
    const run = spec({ ...shares('75%', '25%') });
    run.when(node('n1', 8), ...many('a', 8), ...many('b', 8));
    expect(placed(run).filter((name) => name.startsWith('a'))).toHaveLength(6);
    expect(placed(run).filter((name) => name.startsWith('b'))).toHaveLength(2);
    run.verifyReplay();
  });

  it('is lent to others while it is not asked for, up to their maximum', () => {
    const run = spec(shares('50%', '50%', { maximumCapacity: '75%' }));
    run.when(node('n1', 8), ...many('a', 8));
    expect(placed(run)).toHaveLength(6);
    expect(told(run)[0]?.reasons).toMatchObject([{ constraint: 'queue limit' }]);
    expect(told(run)[0]?.reasons[0]?.message).toMatch(/queue root\.a uses 6000m cpu .* at most 6000m/);
  });

  it('is held to by every queue above', () => {
    const run = spec({
      queues: [
        { path: 'root.a', capacity: '50%', maximumCapacity: '50%' },
        { path: 'root.a.x', userLimitFactor: -1 },
        { path: 'root.a.y', userLimitFactor: -1 },
        { path: 'root.b', capacity: '50%' },
      ],
    });
    const x = { owner: 'a/x', workload: 'default/x' };
    const y = { owner: 'a/y', workload: 'default/y' };
    run.when(node('n1', 8), ...many('x', 3, x), ...many('y', 3, y));
    expect(placed(run)).toHaveLength(4);
    expect(told(run)[0]?.reasons[0]?.message).toMatch('queue root.a uses');
  });

  it('counts cores as well unless memory alone is to', () => {
    const wide = { cpuMillis: 4_000, memoryBytes: gib };
    const both = spec(shares('50%', '50%', { maximumCapacity: '50%' }));
    both.when(node('n1', 8), ask('a-1', wide), ask('a-2', wide));
    expect(placed(both)).toEqual(['a-1']);
    const memory = spec({ ...shares('50%', '50%', { maximumCapacity: '50%' }), resourceCalculator: 'default' });
    memory.when(node('n1', 8), ask('a-1', wide), ask('a-2', wide));
    expect(placed(memory)).toEqual(['a-1', 'a-2']);
  });

  it('lets priority of a queue count among those below their guarantee', () => {
    const run = spec({
      queues: [
        { path: 'root.a', capacity: '50%' },
        { path: 'root.b', capacity: '50%', priority: 10 },
      ],
    });
    run.when(node('n1', 2), ...many('a', 2), ...many('b', 2));
    expect(placed(run)).toEqual(['b-1', 'a-1']);
  });
});

describe('fair scheduling', () => {
  const fair = (schedulingPolicy: string) => ({
    queues: [
      { path: 'root', schedulingPolicy },
      { path: 'root.a', capacity: '2w', userLimitFactor: -1 },
      { path: 'root.b', capacity: '1w', userLimitFactor: -1 },
    ],
  });

  it('divides memory by weight', () => {
    const run = spec(fair('fair'));
    run.when(node('n1', 9), ...many('a', 9), ...many('b', 9));
    expect(placed(run).filter((name) => name.startsWith('a'))).toHaveLength(6);
  });

  it('divides the dominant resource where it is drf', () => {
    const run = spec(fair('drf'));
    // a: 1 core and 4 GiB, b: 3 cores and 1 GiB, of 9 cores and 18 GiB: the example of the DRF paper, weighted 2 : 1
    run.when(
      nodeJoined('n1', { cpuMillis: 9_000, memoryBytes: 18 * gib }),
      ...many('a', 9, { memoryBytes: 4 * gib }),
      ...many('b', 9, { cpuMillis: 3_000 }),
    );
    expect(placed(run).filter((name) => name.startsWith('a'))).toHaveLength(4);
    expect(placed(run).filter((name) => name.startsWith('b'))).toHaveLength(1);
  });

  it('gives a queue its minimum first', () => {
    const run = spec({
      queues: [
        { path: 'root', schedulingPolicy: 'fair' },
        { path: 'root.a', capacity: { memoryBytes: gib }, userLimitFactor: -1 },
        { path: 'root.b', capacity: { memoryBytes: 3 * gib }, userLimitFactor: -1 },
      ],
    });
    run.when(node('n1', 4), ...many('a', 4), ...many('b', 4));
    expect(placed(run).filter((name) => name.startsWith('b'))).toHaveLength(3);
  });

  it('orders the applications of a queue', () => {
    const two = (owner: string) => ({ owner: 'default', workload: `default/${owner}` });
    const asked = [...many('x', 4, two('x')), ...many('y', 4, two('y'))];
    const fifo = spec();
    fifo.when(node('n1', 4), ...asked);
    expect(placed(fifo)).toEqual(['x-1', 'x-2', 'x-3', 'x-4']);
    const even = spec({ queues: [{ path: 'root.default', schedulingPolicy: 'fair' }] });
    even.when(node('n1', 4), ...asked);
    expect(placed(even)).toEqual(['x-1', 'y-1', 'x-2', 'y-2']);
  });
});

describe('user limits', () => {
  const by = (user: string) => ({ user, owner: 'default', workload: `default/${user}` });

  it('share a queue among the users who ask, each the minimum at least', () => {
    const run = spec({ queues: [{ path: 'root.default', minimumUserLimitPercent: 25 }] });
    run.when(node('n1', 8), ...many('u1', 8, by('ann')), ...many('u2', 8, by('bob')));
    // as upstream, the instance that reaches the limit may exceed it by itself
    expect(placed(run).filter((name) => name.startsWith('u1')).length).toBeLessThanOrEqual(5);
    expect(placed(run).filter((name) => name.startsWith('u2')).length).toBeGreaterThanOrEqual(3);
    expect(told(run).find(({ instance }) => instance.startsWith('u1'))?.reasons).toMatchObject([
      { constraint: 'user limit', message: expect.stringContaining('user ann') },
    ]);
  });

  it('hold one user to the factor times the guarantee', () => {
    const run = spec({
      queues: [
        { path: 'root.a', capacity: '25%' },
        { path: 'root.b', capacity: '75%' },
      ],
    });
    run.when(node('n1', 8), ...many('a', 8));
    expect(placed(run)).toHaveLength(3); // 2 cores are guaranteed, one instance may exceed them
  });

  it('weigh users', () => {
    const queue = { path: 'root.default', minimumUserLimitPercent: 1, userWeights: { ann: 3 } };
    const run = spec({ queues: [queue] });
    run.when(node('n1', 16), ...many('u1', 16, by('ann')), ...many('u2', 16, by('bob')));
    expect(placed(run).filter((name) => name.startsWith('u1'))).toHaveLength(13);
  });
});

describe('limits on applications', () => {
  const app = (name: string) => ({ owner: 'default', workload: `default/${name}` });
  const withLimit = (some: object, config: object = {}) =>
    spec({ queues: [{ path: 'root.default', ...some }], ...config });

  it('are checked at submission: maximum-applications turns away, and lets in when one has ended', () => {
    const run = withLimit({ maximumApplications: 1 });
    run.when(node('n1', 4), ask('x-1', app('x')), ask('y-1', app('y')));
    expect(placed(run)).toEqual(['x-1']);
    expect(told(run)).toMatchObject([{ instance: 'y-1', reasons: [{ constraint: 'maximum applications' }] }]);
    run.when(instanceWithdrawn('x-1'), guestRemoved('x-1', 'n1')).then(instancePlaced('y-1', 'n1')).verifyReplay();
  });

  it('then max-parallel-apps lets them wait', () => {
    const run = withLimit({ maxParallelApps: 1 });
    run.when(node('n1', 4), ask('x-1', app('x')), ask('y-1', app('y')));
    expect(told(run)).toMatchObject([{ instance: 'y-1', reasons: [{ constraint: 'parallel applications' }] }]);
    run.when(instanceWithdrawn('x-1'), guestRemoved('x-1', 'n1')).then(instancePlaced('y-1', 'n1'));
  });

  it('then the share of application masters', () => {
    const run = withLimit({ maximumAmResourcePercent: 0.25 }, { applicationMaster: 'first-instance' });
    run.when(node('n1', 8), ...['x', 'y', 'z'].flatMap((name) => many(name, 2, app(name))));
    // a quarter of 8 cores: two masters
    expect(placed(run)).toEqual(['x-1', 'x-2', 'y-1', 'y-2']);
    expect(told(run)[0]).toMatchObject({ instance: 'z-1', reasons: [{ constraint: 'application master share' }] });
  });

  it('one application runs whatever its master takes', () => {
    const run = withLimit({ maximumAmResourcePercent: 0 }, { applicationMaster: 'first-instance' });
    run.when(node('n1', 8), ask('x-1', app('x')), ask('y-1', app('y')));
    expect(placed(run)).toEqual(['x-1']);
  });

  it('do not count where the orchestrator is the master, outside of the cluster', () => {
    const run = withLimit({ maximumAmResourcePercent: 0 });
    run.when(node('n1', 8), ask('x-1', app('x')), ask('y-1', app('y')));
    expect(placed(run)).toEqual(['x-1', 'y-1']);
  });
});
