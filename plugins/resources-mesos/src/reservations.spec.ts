import {
  guestRemoved,
  instancePlaced,
  instanceRequested,
  instanceUnplaceable,
  nodeJoined,
  nodeLost,
  policySpec,
  resources,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { Bundle } from './bundle.ts';
import { mesosPolicy } from './mesos.policy.ts';
import { Reservations, unusedByOwner } from './reservations.ts';

const spec = (config = {}) => policySpec(mesosPolicy(config));
const asked = (name: string, owner: string, cpuMillis: number) =>
  instanceRequested(name, { owner, cpuMillis, workload: `${owner}/w` });
const reserve = (owner: string, cpuMillis: number, some = {}) => ({
  type: 'Reserve' as const,
  ...{ owner, node: 'n1', count: 1, resources: resources({ cpuMillis }), ...some },
});
const unreserve = (owner: string, some = {}) => ({
  type: 'Unreserve' as const,
  owner,
  node: 'n1',
  reason: '',
  ...some,
});
const small = nodeJoined('n1', { cpuMillis: 4_000 });
const reserved = (owner: string, cpuMillis: number) => ({
  type: 'ResourcesReserved' as const,
  data: (data: { owner: string; resources: { cpuMillis: number } }) =>
    data.owner === owner && data.resources.cpuMillis === cpuMillis,
});

describe('reservations', () => {
  it('keep resources for a role and those below it', () => {
    spec()
      .given(small)
      .when(reserve('eng', 3_000), asked('o', 'ops', 2_000), asked('e', 'eng/web', 2_000))
      .thenIncludes(instancePlaced('e', 'n1'), instanceUnplaceable('o'))
      .when(asked('o2', 'ops', 1_000))
      .thenIncludes(instancePlaced('o2', 'n1'))
      .verifyReplay();
  });

  it('say why others wait', () => {
    const run = spec()
      .given(small)
      .when(reserve('eng', 3_000), asked('o', 'ops', 2_000));
    const [told] = run.decided.filter(({ type }) => type === 'InstanceUnplaceable');
    expect(told?.data).toMatchObject({
      reasons: [{ constraint: 'reservation', nodes: 1, message: '1 of 1 nodes have set it aside for other roles' }],
    });
  });

  it('are refused where there is not that much free, and without an agent', () => {
    const run = spec().given(small, asked('a', 'a', 2_000), instancePlaced('a', 'n1'));
    run.when(reserve('eng', 2_001)).thenRefused('COMMAND_REFUSED', /less than that free/);
    run.when(reserve('eng', 1, { node: 'n9' })).thenRefused('NODE_NOT_FOUND');
    run.when(reserve('eng', 1, { node: undefined })).thenRefused('COMMAND_REFUSED', /which agent/);
    run.when(reserve('eng', 1, { reservation: 'set' })).thenRefused('COMMAND_UNSUPPORTED');
  });

  it('are given up when nobody uses them, in part or whole', () => {
    const run = spec()
      .given(small)
      .when(reserve('eng', 3_000), asked('e', 'eng', 2_000));
    run.when(unreserve('eng', { resources: resources({ cpuMillis: 1_500 }) })).thenRefused('COMMAND_REFUSED', /in use/);
    run.when(unreserve('eng', { resources: resources({ cpuMillis: 1_000 }) }), asked('o', 'ops', 2_000));
    run.thenIncludes(instancePlaced('o', 'n1'));
    run.when(unreserve('ops')).thenRefused('COMMAND_REFUSED', /no dynamic reservation/);
    run.verifyReplay();
  });

  it('are refined for a role below, and go back to the one above', () => {
    const run = spec().given(small).when(reserve('eng', 3_000)).when(reserve('eng/web', 2_000));
    run.thenIncludes(reserved('eng/web', 2_000) as never);
    run.when(asked('d', 'eng/data', 2_500)).thenIncludes(instanceUnplaceable('d'));
    run.when(unreserve('eng/web')).thenIncludes(reserved('eng', 2_000) as never, instancePlaced('d', 'n1'));
    run.verifyReplay();
  });

  it('outlive the loss of their agent', () => {
    const run = spec()
      .given(small)
      .when(reserve('eng', 3_000), nodeLost('n1'), small, asked('o', 'ops', 2_000));
    run.thenIncludes(instanceUnplaceable('o'));
    run.verifyReplay();
  });

  it('in the configuration hold on every agent they are meant for, and cannot be given up', () => {
    const constraints = [{ attribute: 'zone', operator: 'in', values: ['a'] }];
    const config = { reservations: [{ owner: 'eng', constraints, resources: resources({ cpuMillis: 3_000 }) }] };
    const run = spec(config).given(nodeJoined('n1', { cpuMillis: 4_000 }, { attributes: { zone: 'a' } }));
    run.when(asked('o', 'ops', 2_000), asked('e', 'eng', 3_000));
    run.thenIncludes(instanceUnplaceable('o'), instancePlaced('e', 'n1'));
    run.when(unreserve('eng')).thenRefused('COMMAND_REFUSED', /in the configuration/);
    run.when(guestRemoved('e', 'n1'), nodeJoined('n2', { cpuMillis: 4_000 }, { attributes: { zone: 'b' } }));
    run.thenIncludes(instancePlaced('o', 'n2')).verifyReplay();
  });
});

describe('what is unused of reservations', () => {
  it('follows from sums: a role uses its own first, then those above', () => {
    const reservations = new Reservations();
    reservations.reserve(0, { owner: 'a', resources: resources({ cpuMillis: 10 }) });
    reservations.reserve(0, { owner: 'a/b', resources: resources({ cpuMillis: 5 }) });
    const used = new Map([
      ['a/b/c', Bundle.of(resources({ cpuMillis: 7 }))],
      ['x', Bundle.of(resources({ cpuMillis: 3 }))],
    ]);
    const unused = unusedByOwner(reservations.on(0), used);
    expect([unused.get('a/b')?.plain[0], unused.get('a')?.plain[0]]).toEqual([0, 8]);
  });
});
