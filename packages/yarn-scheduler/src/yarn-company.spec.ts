import { at, guestRemoved, instancePlaced } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { ask, node, placed, spec, told } from './yarn.fixture.ts';

const on = (name: string, rack: string) => node(name, 4, { attributes: { rack } });
const nodes = [on('n1', 'r1'), on('n2', 'r1'), on('n3', 'r2')];
const where = (run: ReturnType<typeof spec>) =>
  Object.fromEntries(
    run.decided
      .filter(({ type }) => type === 'InstancePlaced')
      .map(({ data }) => [(data as { instance: string }).instance, (data as { node: string }).node]),
  );
const data = { owner: 'default', workload: 'default/data', tags: ['hbase'] };
const rule = (scope: string, some: object) => ({
  owner: 'default',
  workload: 'default/user',
  placement: [{ scope, tags: ['hbase'], required: true, ...some }],
});

describe('placement constraints by allocation tags', () => {
  it('affinity: on the node, or in the rack, where the tag is', () => {
    const run = spec().given(...nodes, ask('d-1', data), instancePlaced('d-1', 'n3'));
    run.when(ask('x-1', rule('node', { min: 1 }))).then(instancePlaced('x-1', 'n3'));
    const rack = spec().given(...nodes, ask('d-1', { ...data, cpuMillis: 4_000 }), instancePlaced('d-1', 'n1'));
    rack.when(ask('x-1', rule('rack', { min: 1 }))).then(instancePlaced('x-1', 'n2'));
    rack.verifyReplay();
  });

  it('anti-affinity: where the tag is not, and the other way around', () => {
    const run = spec().given(...nodes, ask('d-1', data), instancePlaced('d-1', 'n1'));
    run.when(ask('x-1', rule('rack', { max: 0 }))).then(instancePlaced('x-1', 'n3'));
    run.when(ask('d-2', { ...data, node: 'n3' }));
    expect(placed(run)).toEqual([]);
    expect(told(run)[0]?.reasons.map(({ constraint }) => constraint)).toContain('company per rack');
  });

  it('cardinality: no more than so many in a rack', () => {
    const run = spec();
    const most = {
      owner: 'default',
      workload: 'default/data',
      tags: ['hbase'],
      placement: [{ scope: 'rack', tags: ['hbase'], max: 1, required: true }],
    };
    run.when(...nodes, ...[1, 2, 3, 4, 5].map((n) => ask(`d-${n}`, most)));
    const racks = Object.values(where(run)).map((name) => (name === 'n3' ? 'r2' : 'r1'));
    expect(racks.sort()).toEqual(['r1', 'r1', 'r2', 'r2']);
    expect(told(run)[0]?.reasons).toMatchObject([
      { constraint: 'company per rack', message: expect.stringMatching('at most 1 of hbase per rack') },
    ]);
    run.verifyReplay();
  });

  it('waits for company that is required and comes later', () => {
    const run = spec().given(...nodes);
    run.when(ask('x-1', rule('node', { min: 1 })));
    expect(told(run)).toMatchObject([{ instance: 'x-1', reasons: [{ constraint: 'company per node' }] }]);
    run.when(ask('d-1', { ...data, node: 'n2' })).then(instancePlaced('d-1', 'n2'), instancePlaced('x-1', 'n2'));
  });
});

describe('delay scheduling', () => {
  const locality = { nodeDelayMs: 1_000, rackDelayMs: 2_000 };
  const reader = {
    owner: 'default',
    workload: 'default/reader',
    cpuMillis: 2_000,
    placement: ['node', 'rack'].map((scope) => ({ scope, tags: ['hbase'], min: 1, required: false })),
  };
  const busy = (instance: string, name: string) => [
    ask(instance, { owner: 'default', workload: `default/${instance}`, cpuMillis: 3_000 }),
    instancePlaced(instance, name),
  ];
  const cluster = () =>
    spec({ locality }).given(...nodes, ask('d-1', data), instancePlaced('d-1', 'n1'), ...busy('full-1', 'n1'));

  it('takes the node where the data is while there is room', () => {
    const run = spec({ locality }).given(...nodes, ask('d-1', data), instancePlaced('d-1', 'n1'));
    run.when(ask('r-1', reader)).then(instancePlaced('r-1', 'n1'));
  });

  it('waits for it, then takes the rack', () => {
    const run = cluster();
    run.when(ask('r-1', reader));
    expect(told(run)).toMatchObject([{ instance: 'r-1', reasons: [{ constraint: 'locality' }] }]);
    run.when(at(999)).then();
    run.when(at(1_000)).then(instancePlaced('r-1', 'n2'));
    run.verifyReplay();
  });

  it('gets it when it becomes free in time', () => {
    const run = cluster();
    run.when(ask('r-1', reader)).when(at(500));
    run.when(guestRemoved('full-1', 'n1')).then(instancePlaced('r-1', 'n1'));
  });

  it('takes any node in the end', () => {
    const run = cluster().given(...busy('full-2', 'n2'));
    run.when(ask('r-1', reader)).when(at(2_999));
    expect(placed(run)).toEqual([]);
    run.when(at(3_000)).then(instancePlaced('r-1', 'n3'));
  });

  it('does not wait for company that is nowhere', () => {
    const run = spec({ locality }).given(...nodes);
    run.when(ask('r-1', reader));
    expect(placed(run)).toEqual(['r-1']);
  });
});

describe('the order of nodes', () => {
  const two = [node('n1', 4), node('n2', 4), ask('a-1', { node: 'n1' }), instancePlaced('a-1', 'n1')];

  it('packs, or takes the least used', () => {
    spec()
      .given(...two)
      .when(ask('a-2'))
      .then(instancePlaced('a-2', 'n1'));
    spec({ nodeOrder: 'resource-usage' })
      .given(...two)
      .when(ask('a-2'))
      .then(instancePlaced('a-2', 'n2'));
  });
});
