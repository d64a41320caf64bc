import { event, type NewEvent, type SharedEvent } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { PlacementLedger } from './placement-ledger.ts';
import { WaitHistogram } from './wait-histogram.ts';

const vector = (cpuMillis: number, memoryBytes = 0) => ({ cpuMillis, memoryBytes, diskBytes: 0, pids: 0 });
const joined = (node: string, cpu: number) =>
  event('NodeJoined', { node, capacity: vector(cpu, cpu), attributes: {}, runtimes: [] });
const requested = (instance: string, cpu: number, owner = 'eng') =>
  event('InstanceRequested', { instance, workload: 'w', revision: 1, requests: vector(cpu), priority: 100, owner });
const placed = (instance: string, node: string) => event('InstancePlaced', { instance, node });
const removed = (instance: string, node: string) => event('GuestRemoved', { instance, node });

function ledger(from: number, ...timed: (readonly [time: number, ...events: NewEvent[]])[]): PlacementLedger {
  const made = new PlacementLedger(from);
  for (const [time, ...events] of timed)
    for (const each of events) made.take({ ...each, time } as unknown as SharedEvent);
  return made;
}

describe('an account of placements', () => {
  it('weighs what is in use by the time that it is', () => {
    const made = ledger(
      0,
      [0, joined('n1', 1_000), joined('n2', 1_000), requested('a', 1_000)],
      [10_000, placed('a', 'n1')],
      [20_000, removed('a', 'n1')],
    );
    made.passTo(40_000);
    const { utilisation, utilisationMean, utilisationPeak, waitMs, placements, nodesInUse } = made.measures;
    expect([utilisation.cpu, utilisationMean.cpu, utilisationPeak]).toEqual([0, 0.125, 0.5]);
    expect([waitMs.max, placements, nodesInUse]).toEqual([10_000, 1, 0]);
  });

  it('counts from its beginning, and knows what was before', () => {
    const made = ledger(
      5_000,
      [0, joined('n1', 1_000), requested('a', 500), placed('a', 'n1')],
      [6_000, requested('b', 500)],
    );
    made.passTo(7_000);
    expect(made.measures).toMatchObject({ placed: 1, pending: 1, placements: 0, utilisationMean: { cpu: 0.5 } });
  });

  it('tells room that is of no use because it lies scattered', () => {
    const nodes = ['n1', 'n2', 'n3', 'n4'];
    const made = ledger(0, [
      0,
      ...nodes.map((node) => joined(node, 1_000)),
      ...nodes.map((node) => requested(`on-${node}`, 600)),
    ]);
    expect(made.measures.fragmentation).toBeCloseTo(1 - 4 / 6);
    for (const node of nodes) made.take({ ...placed(`on-${node}`, node), time: 1 } as unknown as SharedEvent);
    expect(made.measures.fragmentation).toBe(1); // 4 × 400 are free, none of which takes 600
  });

  it('tells whether owners were served alike', () => {
    const start = [0, joined('n1', 1_000), requested('a', 1_000, 'one'), requested('b', 1_000, 'two')] as const;
    const made = ledger(0, start, [0, placed('a', 'n1')]);
    made.passTo(1_000);
    expect(made.measures.fairness).toBeCloseTo(0.5);
    for (const each of [removed('a', 'n1'), placed('b', 'n1')])
      made.take({ ...each, time: 1_000 } as unknown as SharedEvent);
    made.passTo(2_000);
    expect(made.measures.fairness).toBeCloseTo(0.9); // the one had all of what it wanted, the other half
  });

  it('forgets what is lost with its node', () => {
    const made = ledger(0, [0, joined('n1', 1_000), requested('a', 500), placed('a', 'n1')]);
    made.take({ ...event('NodeLost', { node: 'n1', reason: '' }), time: 1 } as unknown as SharedEvent);
    expect(made.measures).toMatchObject({ nodes: 0, placed: 0, pending: 0, utilisation: { cpu: 0 } });
    made.take({ ...joined('n1', 1_000), time: 2 } as unknown as SharedEvent);
    expect(made.measures).toMatchObject({ nodes: 1, utilisation: { cpu: 0 } });
  });
});

describe('a histogram of waits', () => {
  it('has quantiles that are off by a twentieth at most', () => {
    const waits = new WaitHistogram();
    for (let ms = 1; ms <= 10_000; ms++) waits.add(ms);
    for (const share of [0.1, 0.5, 0.9, 0.99]) {
      expect(Math.abs(waits.quantile(share) / (share * 10_000) - 1)).toBeLessThan(0.05);
    }
    expect([waits.quantile(1), waits.max]).toEqual([10_000, 10_000]);
  });

  it('takes any wait', () => {
    const waits = new WaitHistogram();
    expect(waits.quantile(0.5)).toBe(0);
    for (const ms of [0, 0.5, 2 ** 50]) waits.add(ms);
    expect([waits.quantile(0.5), waits.count]).toEqual([0, 3]);
  });
});
