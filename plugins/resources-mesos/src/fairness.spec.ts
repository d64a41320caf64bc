import {
  guestRemoved,
  instancePlaced,
  instancePreempted,
  instanceRequested,
  instanceUnplaceable,
  nodeDrained,
  nodeJoined,
  nodeLost,
  policySpec,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { mesosPolicy } from './mesos.policy.ts';

const gib = 1_024 ** 3;
const spec = (config = {}) => policySpec(mesosPolicy(config));
const asked = (name: string, owner: string, cpuMillis: number, memoryBytes = 0, some = {}) =>
  instanceRequested(name, { owner, cpuMillis, memoryBytes, workload: `${owner}/w`, ...some });

describe('dominant resource fairness', () => {
  it('takes turns between roles by their dominant shares', () => {
    // the example of the paper: 9 cores, 18 GiB; a asks for 1 core and 4 GiB, b for 3 cores and 1 GiB
    const requests = [1, 2, 3, 4].flatMap((n) => [
      asked(`a${n}`, 'a', 1_000, 4 * gib),
      asked(`b${n}`, 'b', 3_000, 1 * gib),
    ]);
    const run = spec().given(...requests);
    run.when(nodeJoined('n1', { cpuMillis: 9_000, memoryBytes: 18 * gib }));
    run.thenIncludes(...['a1', 'a2', 'a3', 'b1', 'b2'].map((name) => instancePlaced(name, 'n1')));
    expect(run.decided.filter(({ type }) => type === 'InstancePlaced')).toHaveLength(5);
    run.verifyReplay();
  });

  it('counts what a role has already, and its weight', () => {
    const given = [asked('a1', 'a', 1_000), asked('a2', 'a', 1_000), asked('b1', 'b', 1_000)];
    spec()
      .given(nodeJoined('n1', { cpuMillis: 2_000 }), given[0]!, instancePlaced('a1', 'n1'))
      .when(given[1]!, given[2]!)
      .then(instancePlaced('b1', 'n1'), instanceUnplaceable('a2'));
    spec({ weights: { a: 3 } })
      .given(nodeJoined('n1', { cpuMillis: 4_000 }), given[0]!, instancePlaced('a1', 'n1'))
      .given(asked('b0', 'b', 500), instancePlaced('b0', 'n1'))
      .when(given[1]!, asked('b1', 'b', 2_000))
      .then(instancePlaced('a2', 'n1'), instanceUnplaceable('b1'));
  });

  it('shares what a parent role gets among the roles below it', () => {
    const requests = ['x', 'y', 'z'].map((name) => asked(name, `eng/${name}`, 1_000));
    const run = spec().given(nodeJoined('n1', { cpuMillis: 4_000 }));
    run.when(...requests, asked('o1', 'ops', 1_000), asked('o2', 'ops', 1_000));
    // one of eng, one of ops, in turns: eng is one role to ops, however many are below it
    run.thenIncludes(instancePlaced('o1', 'n1'), instancePlaced('o2', 'n1'));
    expect(run.decided.filter(({ type }) => type === 'InstancePlaced')).toHaveLength(4);
  });

  it('serves the instances of one role by priority, then first come first', () => {
    spec()
      .given(asked('low', 'a', 1_000), asked('high', 'a', 1_000, 0, { priority: 300 }))
      .when(nodeJoined('n1', { cpuMillis: 1_000 }))
      .thenIncludes(instancePlaced('high', 'n1'), instanceUnplaceable('low'));
  });

  it('never preempts', () => {
    spec()
      .given(nodeJoined('n1', { cpuMillis: 1_000 }), asked('low', 'a', 1_000, 0, { priority: 0 }))
      .given(instancePlaced('low', 'n1'))
      .when(asked('high', 'b', 1_000, 0, { priority: 999 }))
      .then(instanceUnplaceable('high'));
  });
});

describe('agents', () => {
  it('that are drained lose their instances and are not offered', () => {
    spec()
      .given(nodeJoined('n1'), asked('a', 'a', 1_000), instancePlaced('a', 'n1'))
      .when({ type: 'DrainNode', node: 'n1', reason: 'repair' })
      .thenIncludes(instancePreempted('a', { node: 'n1', reason: 'drain' }))
      .when(guestRemoved('a', 'n1'))
      .then(nodeDrained('n1'))
      .when(asked('b', 'a', 1_000))
      .then(instanceUnplaceable('b'))
      .verifyReplay();
  });

  it('that are lost give nothing and count for nothing', () => {
    spec()
      .given(nodeJoined('n1', { cpuMillis: 1_000 }), nodeJoined('n2', { cpuMillis: 1_000 }))
      .given(asked('a', 'a', 1_000), instancePlaced('a', 'n1'))
      .when(nodeLost('n1'), asked('b', 'a', 1_000))
      .then(instancePlaced('b', 'n2'))
      .verifyReplay();
  });

  it('under maintenance are left in time, and come back', () => {
    const run = spec({ maintenanceLeadMs: 1_000 })
      .given(nodeJoined('n1'), asked('a', 'a', 1_000), instancePlaced('a', 'n1'))
      .when({ type: 'ScheduleMaintenance', node: 'n1', from: 10_000, durationMs: 5_000, reason: 'disk' });
    run.thenIncludes({
      type: 'MaintenanceScheduled',
      data: { node: 'n1', from: 10_000, durationMs: 5_000, reason: 'disk' },
    });
    run.thenWakeAt(9_000);
    run.when({ at: 9_000 }).thenIncludes(instancePreempted('a', { node: 'n1' }));
    run.when(guestRemoved('a', 'n1'), asked('b', 'a', 1_000)).thenIncludes(instanceUnplaceable('b'));
    run.when({ at: 15_000 }).thenIncludes(instancePlaced('b', 'n1'));
    run.verifyReplay();
  });
});
