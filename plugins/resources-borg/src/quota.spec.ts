import { event } from '@cloudos/sdk';
import { at, guestRemoved, instancePlaced, instanceRequested, instanceUnplaceable, nodeJoined } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { borgSpec, reasonsOf } from './borg.fixture.ts';

const production = { from: 200, to: 899 };
const limit = { cpuMillis: 1_000 };

describe('quota', () => {
  it('is checked before an instance is considered, by owner, ancestors and priority', () => {
    const of = borgSpec()
      .given(nodeJoined('n1', { cpuMillis: 8_000 }))
      .given(event('QuotaSet', { owner: 'eng', priority: production, limit }));
    const asked = (id: string, owner: string, priority: number) =>
      instanceRequested(id, { cpuMillis: 600, owner, priority });
    of.when(asked('a', 'eng/search', 300)).then(instancePlaced('a', 'n1'));
    of.when(asked('b', 'eng/mail', 300));
    expect(reasonsOf(of.decided, 'b')).toEqual([
      'quota: eng uses 600m of 1000m cpu, 600m more would be over its quota',
    ]);
    of.when(asked('c', 'eng/mail', 100)).then(instancePlaced('c', 'n1'));
    of.when(asked('d', 'sales', 300)).then(instancePlaced('d', 'n1'));
    of.when(guestRemoved('a', 'n1')).then(instancePlaced('b', 'n1'));
    of.verifyReplay();
  });

  it('is unlimited at priority 0', () => {
    borgSpec()
      .given(nodeJoined('n1'), event('QuotaSet', { owner: 'eng', limit: { cpuMillis: 0 } }))
      .when(instanceRequested('a', { cpuMillis: 600, owner: 'eng', priority: 0 }))
      .then(instancePlaced('a', 'n1'));
  });

  it('ends with its period; what runs goes on', () => {
    const of = borgSpec()
      .given(nodeJoined('n1'), event('QuotaSet', { owner: 'eng', limit, until: 10_000 }))
      .when(instanceRequested('a', { cpuMillis: 100, owner: 'eng' }))
      .then(instancePlaced('a', 'n1'))
      .when(at(10_000), instanceRequested('b', { cpuMillis: 100, owner: 'eng' }));
    expect(reasonsOf(of.decided, 'b')).toEqual(['quota: the quota of eng ended at 1970-01-01T00:00:10.000Z']);
    of.when({ type: 'RemoveQuota', owner: 'eng' }).then(
      event('QuotaRemoved', { owner: 'eng' }),
      instancePlaced('b', 'n1'),
    );
  });

  it('of an owner does not keep others of the same shape waiting', () => {
    borgSpec()
      .given(nodeJoined('n1'), event('QuotaSet', { owner: 'eng', limit: { cpuMillis: 0 } }))
      .when(instanceRequested('a', { cpuMillis: 100, owner: 'eng' }))
      .then(instanceUnplaceable('a'))
      .when(instanceRequested('b', { cpuMillis: 100, owner: 'sales' }))
      .then(instancePlaced('b', 'n1'));
  });

  it('is set and removed by command; an owner can be stopped', () => {
    const of = borgSpec().given(nodeJoined('n1'));
    of.when({ type: 'SetQuota', owner: 'eng', limit }).then(event('QuotaSet', { owner: 'eng', limit }));
    of.when({ type: 'SetQuota', owner: 'eng', limit }).thenNothing();
    of.when({ type: 'SetOwnerState', owner: 'eng', state: 'stopped' });
    of.when(instanceRequested('a', { cpuMillis: 100, owner: 'eng/search', priority: 0 }));
    expect(reasonsOf(of.decided, 'a')).toEqual(['owner: eng/search takes no new instances']);
    of.when({ type: 'SetOwnerState', owner: 'eng', state: 'running' }).then(
      event('OwnerStateChanged', { owner: 'eng', state: 'running' }),
      instancePlaced('a', 'n1'),
    );
    of.verifyReplay();
  });

  it('of production is sold once: not more than the cell has', () => {
    const of = borgSpec().given(nodeJoined('n1', { cpuMillis: 4_000 }));
    of.when({ type: 'SetQuota', owner: 'eng', priority: production, limit: { cpuMillis: 3_000 } });
    of.when({ type: 'SetQuota', owner: 'sales', priority: production, limit: { cpuMillis: 2_000 } }).thenRefused(
      'COMMAND_REFUSED',
      'production quota of 5000m cpu is more than the 4000m that there is',
    );
    of.when({ type: 'SetQuota', owner: 'sales', priority: { from: 0, to: 199 }, limit: { cpuMillis: 9_000 } });
    expect(of.refusal).toBeUndefined();
  });
});
