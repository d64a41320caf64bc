import { event } from '@cloudos/sdk';
import {
  at,
  guestRemoved,
  instancePlaced,
  instancePreempted,
  instanceRequested,
  instanceUnplaceable,
  nodeCordoned,
  nodeDrained,
  nodeJoined,
  nodeUncordoned,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { borgSpec, reasonsOf } from './borg.fixture.ts';

const inCell = (cell: string) => ({ attributes: { cell } });

describe('cells', () => {
  it('keep each workload together', () => {
    const of = borgSpec({ cells: 'cell', failureDomains: [] })
      .given(nodeJoined('n1', { cpuMillis: 1_000 }, inCell('a')), nodeJoined('n2', {}, inCell('b')))
      .given(instanceRequested('a', { cpuMillis: 500 }), instancePlaced('a', 'n1'));
    of.when(instanceRequested('b', { cpuMillis: 500 })).then(instancePlaced('b', 'n1'));
    of.when(instanceRequested('c', { cpuMillis: 500 }));
    expect(reasonsOf(of.decided, 'c')).toContainEqual(expect.stringMatching(/^company per cell: 1 of 2 nodes/));
    of.when(instanceRequested('d', { cpuMillis: 500, workload: 'default/other' })).then(instancePlaced('d', 'n2'));
    of.verifyReplay();
  });
});

describe('images', () => {
  it('draw instances to the nodes that have them', () => {
    const asked = (id: string) => instanceRequested(id, { cpuMillis: 100, image: 'web:1', workload: `default/${id}` });
    borgSpec()
      .given(nodeJoined('n1'), nodeJoined('n2'), nodeJoined('n3'))
      .given(asked('a'), instancePlaced('a', 'n2'))
      .given(event('GuestCreated', { instance: 'a', node: 'n2', runtime: 'zones', handle: 1 }), guestRemoved('a', 'n2'))
      .when(asked('b'))
      .then(instancePlaced('b', 'n2'))
      .verifyReplay();
  });
});

describe('preemption', () => {
  it('frees a port of the node', () => {
    borgSpec()
      .given(nodeJoined('n1'), instanceRequested('a', { hostPorts: [80] }), instancePlaced('a', 'n1'))
      .given(instanceRequested('b', { cpuMillis: 100 }), instancePlaced('b', 'n1'))
      .when(instanceRequested('c', { hostPorts: [80], priority: 300 }))
      .then(instancePreempted('a', { by: 'c', node: 'n1' }))
      .when(guestRemoved('a', 'n1'))
      .then(instancePlaced('c', 'n1'))
      .verifyReplay();
  });

  it('does not help where company forbids the node', () => {
    const apart = [{ scope: 'node', tags: ['db'], max: 0, required: true }];
    borgSpec()
      .given(
        nodeJoined('n1', { cpuMillis: 1_000 }),
        instanceRequested('db', { tags: ['db'] }),
        instancePlaced('db', 'n1'),
      )
      .given(instanceRequested('a', { cpuMillis: 1_000 }), instancePlaced('a', 'n1'))
      .when(instanceRequested('b', { cpuMillis: 500, priority: 300, placement: apart }))
      .then(instanceUnplaceable('b'));
  });
});

describe('maintenance', () => {
  it('drains the node in time, and takes it back when it is over', () => {
    const of = borgSpec({ maintenanceNoticeMs: 1_000 }).given(nodeJoined('n1'));
    of.given(instanceRequested('a'), instancePlaced('a', 'n1'));
    of.when({ type: 'ScheduleMaintenance', node: 'n1', from: 5_000, durationMs: 2_000, reason: 'disk' });
    expect(of.wakeAt).toBe(4_000);
    of.when(at(4_000)).then(nodeCordoned('n1', { drain: true }), instancePreempted('a', { node: 'n1' }));
    of.when(guestRemoved('a', 'n1')).then(nodeDrained('n1'));
    of.when(at(7_000)).then(event('MaintenanceCancelled', { node: 'n1' }), nodeUncordoned('n1'));
    of.verifyReplay();
    of.when({ type: 'ScheduleMaintenance', node: 'n1', from: 0, durationMs: 1, reason: '' }).thenRefused(
      'COMMAND_REFUSED',
      'which is past',
    );
  });
});

describe('configuration', () => {
  it('changes live, by an event that a replay sees', () => {
    const of = borgSpec()
      .given(nodeJoined('n1', { cpuMillis: 2_000 }), instanceRequested('a', { cpuMillis: 1_500 }))
      .given(instancePlaced('a', 'n1'));
    of.when({ type: 'Configure', config: { preemption: false } });
    expect(of.decided.map(({ type }) => type)).toEqual(['x-resources-borg-Configured']);
    of.when(instanceRequested('b', { cpuMillis: 1_500, priority: 300 })).then(instanceUnplaceable('b'));
    of.when({ type: 'Configure', config: { candidates: -1 } }).thenRefused('COMMAND_INVALID', 'candidates');
    of.when({ type: 'Configure', config: { failureDomains: ['row'] } }).thenRefused(
      'COMMAND_REFUSED',
      'failureDomains',
    );
    of.verifyReplay();
  });
});
