import { event, type NewEvent, type RecordedEvent, type SharedEvent } from '@cloudos/sdk';
import { beforeEach, describe, expect, it } from 'vitest';
import { PlacementLedger } from './placement-ledger.ts';
import { ShadowWorld } from './shadow-world.ts';

let real: PlacementLedger;
let shadow: PlacementLedger;
let world: ShadowWorld;
let now = 0;
const recorded = ({ type, data }: NewEvent, stream: string) =>
  ({ position: 0, stream, revision: 0, id: '', type, time: now, data, meta: {} }) as unknown as RecordedEvent;
/** Something really happens: what the shadow sees of it. */
const really = (of: NewEvent, stream = 'orchestrator'): [string, unknown][] => {
  const seen = world.translate(recorded(of, stream));
  for (const each of seen) shadow.take(recorded(each, stream) as SharedEvent);
  real.take(recorded(of, stream) as SharedEvent);
  return seen.map(({ type, data }) => [type, data]);
};
const decides = (of: NewEvent) => {
  const decision = recorded(of, 'resources');
  shadow.take(decision as SharedEvent);
  world.decided(decision);
};
const zero = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
const joined = (node: string) => event('NodeJoined', { node, capacity: zero, attributes: {}, runtimes: [] });
const requested = (instance: string) =>
  event('InstanceRequested', { instance, workload: 'w', revision: 1, requests: zero, priority: 100 });
const placed = (instance: string, node: string) => event('InstancePlaced', { instance, node });
const withdrawn = (instance: string) => event('InstanceWithdrawn', { instance, reason: '', drainMs: 0, graceMs: 0 });
const removed = (instance: string, node: string) => event('GuestRemoved', { instance, node });

beforeEach(() => {
  now = 0;
  real = new PlacementLedger();
  shadow = new PlacementLedger();
  world = new ShadowWorld(real, shadow);
  for (const node of ['n1', 'n2']) really(joined(node), `node-${node}`);
  really(requested('a'));
});

describe('what a shadow sees', () => {
  it('is not what the one in charge decides, but what it was told', () => {
    expect(really(placed('a', 'n1'), 'resources')).toEqual([]);
    const cordoned = event('NodeCordoned', { node: 'n1', reason: '' });
    expect(really(cordoned, 'resources')).toEqual([['NodeCordoned', cordoned.data]]);
    expect(really({ type: 'x-resources-borg-Hint', data: {} }, 'resources')).toEqual([]);
  });

  it('of a guest happens where it has the instance, or does not', () => {
    really(placed('a', 'n1'), 'resources');
    const estimated = event('GuestUsageEstimated', { instance: 'a', node: 'n1', usage: zero });
    expect(really(estimated, 'node-n1')).toEqual([]);
    decides(placed('a', 'n2'));
    expect(really(estimated, 'node-n1')).toEqual([['GuestUsageEstimated', { ...estimated.data, node: 'n2' }]]);
    expect(really(removed('a', 'n1'), 'node-n1')).toEqual([['GuestRemoved', { instance: 'a', node: 'n2' }]]);
  });

  it('of an end is an end: whoever waits in the shadow waits no longer', () => {
    really(placed('a', 'n1'), 'resources');
    expect(really(removed('a', 'n1'), 'node-n1').map(([type]) => type)).toEqual(['InstanceWithdrawn']);
    really(requested('b'));
    decides(placed('b', 'n1'));
    expect(really(withdrawn('b')).map(([type]) => type)).toEqual(['InstanceWithdrawn', 'GuestRemoved']);
  });

  it('of whom it preempts is the end of the grace, and a request for another', () => {
    really(placed('a', 'n1'), 'resources');
    decides(placed('a', 'n2'));
    decides(event('InstancePreempted', { instance: 'a', node: 'n2', reason: '', graceMs: 500 }));
    expect(world.dueAt).toBe(500);
    expect(world.due(499)).toEqual([]);
    expect(world.due(500).map(({ type }) => type)).toEqual(['GuestRemoved', 'InstanceRequested']);
    expect(world.dueAt).toBeUndefined();
  });

  it('of a lost node: who was really there is gone, who was only there in the shadow is asked for anew', () => {
    really(requested('b'));
    really(placed('a', 'n1'), 'resources');
    really(placed('b', 'n2'), 'resources');
    decides(placed('a', 'n2'));
    decides(placed('b', 'n1'));
    expect(
      really(event('NodeLost', { node: 'n1', reason: '' }), 'kernel').map(([type, data]) => [
        type,
        (data as { instance?: string }).instance,
      ]),
    ).toEqual([
      ['GuestRemoved', 'a'],
      ['NodeLost', undefined],
      ['InstanceRequested', 'b'],
    ]);
  });
});
