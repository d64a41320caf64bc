import { event } from '@cloudos/sdk';
import {
  guestRemoved,
  instancePlaced,
  instancePreempted,
  instanceRequested,
  instanceUnplaceable,
  nodeJoined,
  resources,
} from '@cloudos/testing';
import { describe, it } from 'vitest';
import { borgSpec } from './borg.fixture.ts';

const estimated = (instance: string, cpuMillis: number) =>
  event('GuestUsageEstimated', { instance, node: 'n1', usage: resources({ cpuMillis }) });
const full = (reclamation: { margin: number } | undefined) =>
  borgSpec({ reclamation })
    .given(nodeJoined('n1', { cpuMillis: 4_000 }))
    .given(instanceRequested('prod', { cpuMillis: 4_000, priority: 300 }), instancePlaced('prod', 'n1'));
const small = (id: string, priority: number) => instanceRequested(id, { cpuMillis: 1_000, priority });

describe('reclamation', () => {
  it('lends best-effort work what is reserved and not used, less a margin; nobody else', () => {
    const of = full({ margin: 0.5 }).given(estimated('prod', 2_000));
    of.when(small('a', 10)).then(instancePlaced('a', 'n1'));
    of.when(small('b', 10)).then(instanceUnplaceable('b'));
    of.when(small('c', 100)).then(instanceUnplaceable('c'));
    of.verifyReplay();
  });

  it('ends when what was lent is needed: the borrowers leave, the youngest first', () => {
    const of = full({ margin: 0 }).given(estimated('prod', 1_000));
    of.given(small('a', 10), instancePlaced('a', 'n1'), small('b', 10), instancePlaced('b', 'n1'));
    of.when(estimated('prod', 2_500)).then(instancePreempted('b', { node: 'n1' }));
    of.when(guestRemoved('b', 'n1')).thenNothing();
    of.verifyReplay();
  });

  it('is off unless it is configured', () => {
    full(undefined).given(estimated('prod', 0)).when(small('a', 10)).then(instanceUnplaceable('a'));
  });
});
