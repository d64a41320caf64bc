import { instancePlaced, instanceRequested, instanceUnplaceable, nodeJoined, policySpec } from '@cloudos/testing';
import { describe, it } from 'vitest';
import { mesosPolicy } from './mesos.policy.ts';

const spec = (config = {}) => policySpec(mesosPolicy(config));
const asked = (name: string, owner: string, cpuMillis: number, some = {}) =>
  instanceRequested(name, { owner, cpuMillis, workload: `${owner}/w`, ...some });
const quota = (owner: string, limit: object, some: object = {}) => ({
  type: 'SetQuota' as const,
  ...{ owner, limit, ...some },
});
const because = (constraint: string, message: RegExp) => ({
  reasons: (reasons: readonly { constraint: string; message: string }[]) =>
    reasons.length === 1 && reasons[0]!.constraint === constraint && message.test(reasons[0]!.message),
});

describe('quota', () => {
  it('is a limit for the role and those below it, and the reason is given', () => {
    spec()
      .given(nodeJoined('n1', { cpuMillis: 9_000 }))
      .when(quota('eng', { cpuMillis: 2_000 }), asked('a', 'eng/x', 1_500), asked('b', 'eng/y', 1_000))
      .thenIncludes(
        instancePlaced('a', 'n1'),
        instanceUnplaceable('b', because('quota', /role eng has 1500m of 2000m cpu, 1000m more/) as never),
      )
      .when({ type: 'RemoveQuota', owner: 'eng' })
      .thenIncludes(instancePlaced('b', 'n1'))
      .verifyReplay();
  });

  it('limits named resources, and leaves what it does not name', () => {
    spec()
      .given(nodeJoined('n1', { custom: { gpu: 4 } }))
      .when(quota('ml', { custom: { gpu: 1 } }), asked('a', 'ml', 100, { custom: { gpu: 1 } }))
      .thenIncludes(instancePlaced('a', 'n1'))
      .when(asked('b', 'ml', 100, { custom: { gpu: 1 } }), asked('c', 'ml', 3_000))
      .thenIncludes(instancePlaced('c', 'n1'), instanceUnplaceable('b', because('quota', /gpu/) as never));
  });

  it('that is guaranteed is kept free for the role, and served first', () => {
    spec()
      .given(nodeJoined('n1', { cpuMillis: 4_000 }))
      .when(quota('prod', { cpuMillis: 3_000 }, { guarantee: { cpuMillis: 2_000 } }))
      .when(asked('a', 'batch', 1_000), asked('b', 'batch', 1_000), asked('c', 'batch', 1_000))
      .thenIncludes(
        instancePlaced('a', 'n1'),
        instancePlaced('b', 'n1'),
        instanceUnplaceable('c', because('guarantee', /promised to other roles: prod/) as never),
      )
      .when(asked('p1', 'prod', 1_000), asked('p2', 'prod', 1_000))
      .thenIncludes(instancePlaced('p1', 'n1'), instancePlaced('p2', 'n1'))
      .verifyReplay();
  });

  it('ends when it is said to', () => {
    spec()
      .given(nodeJoined('n1'))
      .when(quota('a', { cpuMillis: 500 }, { until: 5_000 }), asked('x', 'a', 1_000))
      .thenIncludes(instanceUnplaceable('x'))
      .when({ at: 5_000 })
      .thenIncludes({ type: 'QuotaRemoved', data: { owner: 'a' } }, instancePlaced('x', 'n1'))
      .verifyReplay();
  });

  it('is refused where it promises what it forbids, or what is not there, or knows of priorities', () => {
    const run = spec().given(nodeJoined('n1', { cpuMillis: 4_000 }));
    run.when(quota('a', { cpuMillis: 1_000 }, { guarantee: { cpuMillis: 2_000 } }));
    run.thenRefused('COMMAND_REFUSED', /more is promised to a than its limit allows/);
    run.when(quota('a', {}, { guarantee: { cpuMillis: 5_000 } }));
    run.thenRefused('COMMAND_REFUSED', /more would be promised than the cluster has/);
    run.when(quota('a', {}, { priority: { from: 0, to: 99 } }));
    run.thenRefused('COMMAND_REFUSED', /no priorities/);
    run.when(quota('eng', { cpuMillis: 2_000 }), quota('eng/x', { cpuMillis: 3_000 }));
    run.thenRefused('COMMAND_REFUSED', /limit of eng\/x is above that of eng/);
  });
});

describe('a role that is stopped', () => {
  it('takes nothing new until it runs again, nor do those below it', () => {
    spec()
      .given(nodeJoined('n1'))
      .when({ type: 'SetOwnerState', owner: 'eng', state: 'stopped' }, asked('a', 'eng/x', 100), asked('b', 'ops', 100))
      .thenIncludes(instancePlaced('b', 'n1'), instanceUnplaceable('a', because('owner', /role eng/) as never))
      .when({ type: 'SetOwnerState', owner: 'eng', state: 'running' })
      .thenIncludes(instancePlaced('a', 'n1'))
      .verifyReplay();
  });
});
