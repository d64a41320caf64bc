import {
  guestRemoved,
  instancePlaced,
  instancePreempted,
  instanceRequested,
  instanceUnplaceable,
  nodeJoined,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { bandOf } from './bands.ts';
import { borgSpec } from './borg.fixture.ts';

const spec = borgSpec;

describe('bands', () => {
  it('divide the priorities from 0 to 1000', () => {
    expect([0, 99, 100, 199, 200, 899, 900, 1_000].map(bandOf)).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
  });
});

describe('resources-borg', () => {
  it('preempts a lower band and places when the room is there', () => {
    spec()
      .given(nodeJoined('n1', { cpuMillis: 2_000 }), instanceRequested('a', { cpuMillis: 1_500, priority: 100 }))
      .given(instancePlaced('a', 'n1'))
      .when(instanceRequested('b', { cpuMillis: 1_500, priority: 300 }))
      .then(instancePreempted('a', { by: 'b', node: 'n1', graceMs: 5_000 }))
      .when(guestRemoved('a', 'n1'))
      .then(instancePlaced('b', 'n1'));
  });

  it('never preempts production for production', () => {
    spec()
      .given(nodeJoined('n1', { cpuMillis: 2_000 }), instanceRequested('a', { cpuMillis: 1_500, priority: 200 }))
      .given(instancePlaced('a', 'n1'))
      .when(instanceRequested('b', { cpuMillis: 1_500, priority: 899 }))
      .then(instanceUnplaceable('b'));
  });

  it('packs where cores and memory are used evenly', () => {
    const gib = 1024 ** 3;
    spec()
      .given(nodeJoined('n1', { cpuMillis: 4_000, memoryBytes: 8 * gib }))
      .given(nodeJoined('n2', { cpuMillis: 4_000, memoryBytes: 8 * gib }))
      .given(instanceRequested('cpu', { cpuMillis: 3_000, workload: 'default/cpu' }), instancePlaced('cpu', 'n1'))
      .given(instanceRequested('mem', { memoryBytes: 6 * gib, workload: 'default/mem' }), instancePlaced('mem', 'n2'))
      .when(instanceRequested('more', { memoryBytes: 2 * gib, workload: 'default/more' }))
      .then(instancePlaced('more', 'n1'));
  });

  it('spreads a workload over failure domains', () => {
    spec()
      .given(nodeJoined('n1', {}, { attributes: { zone: 'a' } }), nodeJoined('n2', {}, { attributes: { zone: 'a' } }))
      .given(nodeJoined('n3', {}, { attributes: { zone: 'b' } }))
      .given(instanceRequested('a', { cpuMillis: 100 }), instancePlaced('a', 'n1'))
      .when(instanceRequested('b', { cpuMillis: 100 }))
      .then(instancePlaced('b', 'n3'));
  });
});
