import type { ResourcesCommand } from '@cloudos/sdk';
import {
  at,
  guestRemoved,
  instancePlaced,
  instancePreempted,
  instanceUnplaceable,
  instanceWithdrawn,
  refused,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { ask, gib, many, node, placed, shares, spec, told } from './yarn.fixture.ts';

describe('node labels', () => {
  const labelled = (exclusive: boolean, queue: object = {}) => ({
    queues: [{ path: 'root.default', labels: { gpu: { capacity: '100%' } }, ...queue }],
    nodeLabels: { labels: [{ name: 'gpu', exclusive }] },
  });
  const gpu = { attributes: { 'node-label': 'gpu' } };
  const onGpu = {
    constraints: [{ attribute: 'node-label', operator: 'in' as const, values: ['gpu'] }],
    owner: 'default',
  };
  const plain = { owner: 'default', workload: 'default/plain' };

  it('keep others away from the nodes of an exclusive label', () => {
    const run = spec(labelled(true));
    run.when(node('n1', 1), node('g1', 4, gpu), ...many('p', 2, plain));
    expect(placed(run)).toEqual(['p-1']);
    expect(told(run)[0]?.reasons.map(({ constraint }) => constraint)).toEqual(['cpu', 'label', 'memory']);
    run.when(ask('g-1', onGpu)).then(instancePlaced('g-1', 'g1'));
  });

  it('lend idle nodes of a label that is not exclusive, and no others', () => {
    const run = spec(labelled(false));
    run.when(node('g1', 2, gpu), ask('p-1', plain)).then(instancePlaced('p-1', 'g1'));
    run.when(ask('g-1', { ...onGpu, cpuMillis: 2_000 }), ask('p-2', plain));
    expect(placed(run)).toEqual([]);
  });

  it('are closed to queues without access', () => {
    const run = spec(labelled(true, { accessibleNodeLabels: [], labels: {} }));
    run.when(node('g1', 2, gpu), ask('g-1', onGpu));
    expect(told(run)[0]?.reasons).toMatchObject([
      { constraint: 'label', message: 'queue root.default has no access to nodes with the label gpu' },
    ]);
  });

  it('have a default for each queue', () => {
    const run = spec(labelled(true, { defaultNodeLabel: 'gpu' }));
    run.when(node('n1', 2), node('g1', 2, gpu), ask('x-1', plain)).then(instancePlaced('x-1', 'g1'));
  });

  it('move with the node', () => {
    const run = spec(labelled(true));
    run.given(node('n1', 2), ask('x-1', plain), instancePlaced('x-1', 'n1'));
    run.when(node('n1', 2, gpu));
    expect([...run.state.tree.get('root.default')!.used]).toEqual([0, 0, 1_000, gib]);
    run.verifyReplay();
  });
});

describe('reservations', () => {
  const big = { cpuMillis: 4_000, memoryBytes: 4 * gib, owner: 'default', workload: 'default/big' };
  const small = { owner: 'default', workload: 'default/small', priority: 50 };

  it('keep a node for a big request that small ones would starve', () => {
    const run = spec();
    run.given(
      node('n1', 4),
      ...many('s', 4, small),
      ...many('s', 4, small).map(({ data }) => instancePlaced(data.instance, 'n1')),
    );
    run.when(ask('big-1', big)).then(instanceUnplaceable('big-1'));
    run.when(at(10_000));
    expect(run.decided.map(({ type, data }) => [type, data])).toEqual([
      ['x-resources-yarn-NodeReserved', { instance: 'big-1', node: 'n1' }],
    ]);
    run.when(guestRemoved('s-1', 'n1'), ask('s-5', small));
    expect(placed(run)).toEqual([]);
    for (const name of ['s-2', 's-3']) run.when(guestRemoved(name, 'n1')).then();
    run.when(guestRemoved('s-4', 'n1')).then(instancePlaced('big-1', 'n1'));
    run.verifyReplay();
  });

  it('end when it finds another node, is not wanted any more, or the node goes', () => {
    for (const [what, expected] of [
      [node('n2', 4), ['big-1']],
      [instanceWithdrawn('big-1'), []],
    ] as const) {
      const run = spec();
      run.given(node('n1', 4), ask('s-1', small), instancePlaced('s-1', 'n1'));
      run.when(ask('big-1', big)).when(at(10_000)).when(what);
      expect(placed(run)).toEqual(expected);
      expect(run.state.reservations.size).toBe(0);
      expect(run.state.cluster.nodes.reserved[0]).toBe(0);
      run.verifyReplay();
    }
  });

  it('are not made on nodes that could never take it', () => {
    const run = spec();
    run.when(node('n1', 2), ask('big-1', big)).when(at(60_000)).then();
  });

  it('count as used by the queue', () => {
    const run = spec();
    run.given(node('n1', 4), ask('s-1', small), instancePlaced('s-1', 'n1'));
    run.when(ask('big-1', big)).when(at(10_000));
    expect([...run.state.tree.root.used]).toEqual([5_000, 5 * gib]);
  });
});

describe('preemption between queues', () => {
  const taken = (config: object = {}) => {
    const run = spec({
      ...shares('50%', '50%'),
      preemption: { naturalTerminationFactor: 1, totalPreemptionPerRound: 1 },
      ...config,
    });
    const all = many('b', 8);
    return run.given(node('n1', 8), ...all, ...all.map(({ data }) => instancePlaced(data.instance, 'n1')));
  };
  const victims = (run: ReturnType<typeof spec>) =>
    run.decided
      .filter(({ type }) => type === 'InstancePreempted')
      .map(({ data }) => (data as { instance: string }).instance);

  it('takes back what a queue is guaranteed, the youngest first, with a grace', () => {
    const run = taken();
    run.when(...many('a', 2));
    expect(victims(run)).toEqual(['b-8', 'b-7']);
    expect(run.decided.find(({ type }) => type === 'InstancePreempted')?.data).toMatchObject({
      node: 'n1',
      graceMs: 15_000,
      reason: 'queue root.b uses more than it is guaranteed, root.a less and asks for it',
    });
    run.when(guestRemoved('b-8', 'n1')).then(instancePlaced('a-1', 'n1'));
    run.when(guestRemoved('b-7', 'n1')).then(instancePlaced('a-2', 'n1'));
    run.verifyReplay();
  });

  it('goes on after the monitoring interval, a part of the excess at a time', () => {
    const run = taken({ preemption: { naturalTerminationFactor: 0.2, totalPreemptionPerRound: 1 } });
    run.when(...many('a', 4));
    expect(victims(run)).toEqual(['b-8']);
    run.when(at(2_999)).then();
    run.when(at(3_000));
    expect(victims(run)).toEqual(['b-7']);
  });

  it('takes nothing beyond the guarantee of either', () => {
    const run = taken();
    run.when(...many('a', 8));
    expect(victims(run)).toHaveLength(4);
    for (const victim of victims(run)) run.when(guestRemoved(victim, 'n1'));
    run.when(at(60_000));
    expect(victims(run)).toEqual([]);
  });

  it('spares queues that are exempt', () => {
    const queues = [
      { path: 'root.a', capacity: '50%' },
      { path: 'root.b', capacity: '50%', disablePreemption: true },
    ];
    const run = taken({ queues });
    run.when(...many('a', 2));
    expect(victims(run)).toEqual([]);
  });

  it('leaves the place to the starved queue, not to the replacement of a victim', () => {
    const run = taken();
    run.when(...many('a', 1));
    run.when(ask('b-9'), guestRemoved('b-8', 'n1'));
    expect(placed(run)).toEqual(['a-1']);
  });
});

describe('states of queues', () => {
  const stop = (owner: string, state: 'running' | 'stopped' = 'stopped'): ResourcesCommand => ({
    type: 'SetOwnerState',
    owner,
    state,
  });

  it('a stopped queue takes no new application and lets the others run to their end', () => {
    const run = spec(shares('50%', '50%'));
    run.given(node('n1', 8), ask('a-1'), instancePlaced('a-1', 'n1'));
    run.when(stop('a'));
    run.when(ask('a-2')).then(instancePlaced('a-2', 'n1'));
    run.when(ask('x-1', { owner: 'a', workload: 'default/late' }));
    expect(told(run)).toMatchObject([{ instance: 'x-1', reasons: [{ constraint: 'queue stopped' }] }]);
    run.when(stop('a', 'running'));
    expect(placed(run)).toEqual(['x-1']);
    run.verifyReplay();
  });

  it('stops those below with it', () => {
    const run = spec({
      queues: [
        { path: 'root.a.x', state: 'RUNNING' },
        { path: 'root.a', state: 'STOPPED' },
      ],
      placementRules: [{ rule: 'specified' }],
    });
    run.when(node('n1', 8), ask('x-1', { owner: 'a/x' }));
    expect(told(run)).toMatchObject([{ reasons: [{ constraint: 'queue stopped' }] }]);
  });
});

describe('live configuration', () => {
  const configure = (config: Record<string, unknown>): ResourcesCommand => ({ type: 'Configure', config });

  it('changes limits of queues in which applications run', () => {
    const run = spec(shares('50%', '50%', { maximumCapacity: '50%' }));
    run.when(node('n1', 8), ...many('a', 8));
    expect(placed(run)).toHaveLength(4);
    run.when(configure(shares('50%', '50%')));
    expect(placed(run)).toHaveLength(4);
    run.verifyReplay();
  });

  it('adds queues, and is the same when it is given again', () => {
    const run = spec(shares('50%', '50%'));
    const more = {
      queues: [...shares('50%', '50%').queues.map((queue) => ({ ...queue, capacity: '1w' })), { path: 'root.c' }],
    };
    run.when(configure(more), node('n1', 4), ask('c-1')).when(configure(more)).then();
    expect(run.state.tree.get('root.c')!.used[0]).toBe(1_000);
  });

  it('is refused where it does not fit together or takes away a queue in use', () => {
    const run = spec(shares('50%', '50%'));
    run.given(node('n1', 4), ask('a-1'));
    run.when(configure(shares('50%', '40%'))).then(refused('COMMAND_INVALID', /add up to 90 %/));
    run.when(configure({ queus: [] })).then(refused('COMMAND_INVALID', /queus/));
    run.when(configure({})).then(refused('COMMAND_REFUSED', /queue root\.a is not in the new settings/));
  });

  it('takes quotas of owners', () => {
    const run = spec(shares('50%', '50%'));
    run.when(node('n1', 8), { type: 'SetQuota', owner: 'a', limit: { cpuMillis: 2_000 } }, ...many('a', 4));
    expect(placed(run)).toHaveLength(2);
    run.when({ type: 'RemoveQuota', owner: 'a' });
    expect(placed(run)).toHaveLength(2);
    run.verifyReplay();
  });

  it('lets go of a quota when its time is over', () => {
    const run = spec(shares('50%', '50%'));
    run.when(
      node('n1', 8),
      { type: 'SetQuota', owner: 'a', limit: { cpuMillis: 2_000 }, until: 60_000 },
      ...many('a', 4),
    );
    expect(placed(run)).toHaveLength(2);
    run.when(at(59_999));
    expect(placed(run)).toEqual([]);
    run.when(at(60_000));
    expect(placed(run)).toHaveLength(2);
    run.verifyReplay();
  });

  it('makes a queue for an owner with a quota that none stands for, and moves its applications there', () => {
    const run = spec();
    const x = { owner: 'team/x', workload: 'default/x' };
    run.when(node('n1', 8), ...many('x', 3, x), { type: 'SetQuota', owner: 'team/x', limit: { cpuMillis: 4_000 } });
    expect(run.state.tree.get('root.team.x')!.used[0]).toBe(3_000);
    run.when(...many('x', 3, x, 4));
    expect(placed(run)).toEqual(['x-4']);
    expect(told(run)[0]?.reasons).toMatchObject([{ constraint: 'queue limit' }]);
    run.verifyReplay();
  });

  it('does not know of reservations under a name', () => {
    spec().when({ type: 'Unreserve', reservation: 'r', reason: '' }).then(refused('COMMAND_UNSUPPORTED'));
  });
});

it('preempts nobody where there is only one queue', () => {
  const run = spec();
  run.given(node('n1', 1), ask('low-1', { priority: 10 }), instancePlaced('low-1', 'n1'));
  run.when(ask('high-1', { priority: 900 })).when(at(100_000));
  expect(run.log.some(({ type }) => type === instancePreempted('low-1').type)).toBe(false);
});
