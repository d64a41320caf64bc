import { event } from '@cloudos/sdk';
import {
  guestRemoved,
  instancePlaced,
  instancePreempted,
  instanceRequested,
  nodeJoined,
  nodeLost,
  resources,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { borgSpec, dataOf, reasonsOf, reserved, unreserved } from './borg.fixture.ts';

const spec = { reservation: 'web', owner: 'eng', resources: resources({ cpuMillis: 2_000 }) };
const inside = (id: string, cpuMillis = 500) => instanceRequested(id, { cpuMillis, reservation: 'web' });
const two = () =>
  borgSpec()
    .given(nodeJoined('n1', { cpuMillis: 3_000 }), nodeJoined('n2', { cpuMillis: 3_000 }))
    .given(event('ReservationRequested', { ...spec, count: 2 }));

describe('an alloc set', () => {
  it('gets its parts placed like instances, and keeps others out of them', () => {
    const of = two().when(instanceRequested('a', { cpuMillis: 1_500 }));
    expect(
      dataOf(of.decided, 'ResourcesReserved')
        .map(({ node }) => node)
        .sort(),
    ).toEqual(['n1', 'n2']);
    expect(reasonsOf(of.decided, 'a')).toHaveLength(1);
    of.verifyReplay();
  });

  it('is shared by those who name it, the fullest part first, and by nobody else', () => {
    const of = two().given(reserved('web', 0, 'n1', 2_000), reserved('web', 1, 'n2', 2_000));
    of.when(inside('a', 1_500)).then(instancePlaced('a', 'n1'));
    of.when(inside('b')).then(instancePlaced('b', 'n1'));
    of.when(inside('c')).then(instancePlaced('c', 'n2'));
    of.when(inside('d', 1_600));
    expect(reasonsOf(of.decided, 'd')).toEqual([
      'reservation: none of the 2 placed parts of reservation web has room, 2 are wanted',
    ]);
    of.when(instanceRequested('e', { reservation: 'mail' }));
    expect(reasonsOf(of.decided, 'e')).toEqual(['reservation: there is no reservation mail']);
    of.when(guestRemoved('c', 'n2')).then(instancePlaced('d', 'n2'));
    of.verifyReplay();
  });

  it('is preempted as a whole and placed again', () => {
    const of = two()
      .given(reserved('web', 0, 'n1', 2_000), reserved('web', 1, 'n2', 2_000))
      .given(inside('a'), instancePlaced('a', 'n1'), inside('b'), instancePlaced('b', 'n2'));
    of.when(instanceRequested('prod', { cpuMillis: 2_500, priority: 300, node: 'n1' })).then(
      instancePreempted('a', { by: 'prod', node: 'n1' }),
      unreserved('web', 0, 'n1', 2_000),
    );
    of.when(guestRemoved('a', 'n1')).then(instancePlaced('prod', 'n1'));
    of.when(nodeJoined('n3', { cpuMillis: 2_000 })).then(reserved('web', 0, 'n3', 2_000));
    of.verifyReplay();
  });

  it('loses a part with its node, and gets another', () => {
    const of = two().given(reserved('web', 0, 'n1', 2_000), reserved('web', 1, 'n2', 2_000));
    of.given(nodeJoined('n3', { cpuMillis: 2_000 }), inside('a'), instancePlaced('a', 'n1'));
    of.when(nodeLost('n1')).then(reserved('web', 0, 'n3', 2_000));
    of.verifyReplay();
  });

  it('is made and given up by command', () => {
    const of = borgSpec().given(nodeJoined('n1'));
    of.when({ type: 'Reserve', ...spec, count: 1 }).then(
      event('ReservationRequested', { ...spec, count: 1 }),
      reserved('web', 0, 'n1', 2_000),
    );
    of.when({ type: 'Reserve', ...spec, count: 1 }).thenRefused('COMMAND_REFUSED', 'there already');
    of.when(inside('a')).then(instancePlaced('a', 'n1'));
    of.when({ type: 'Unreserve', reservation: 'web', reason: 'done' }).then(
      instancePreempted('a', { node: 'n1', reason: 'done' }),
      unreserved('web', 0, 'n1', 2_000),
      event('ReservationWithdrawn', { reservation: 'web', reason: 'done' }),
    );
    of.when(instanceRequested('b', { cpuMillis: 3_000 }), guestRemoved('a', 'n1')).then(instancePlaced('b', 'n1'));
    of.when({ type: 'Unreserve', reservation: 'web', reason: '' }).thenRefused(
      'RESERVATION_NOT_FOUND',
      'no reservation',
    );
    of.verifyReplay();
  });
});
