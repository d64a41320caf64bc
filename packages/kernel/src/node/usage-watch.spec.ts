import type { GuestStats, NewEvent } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { UsageEstimator, usageHalfLifeMs, usageRecordIntervalMs, usageWarmUpMs } from './usage-estimator.ts';
import { UsageWatch, usageSampleMs } from './usage-watch.ts';

const second = 1_000;
const nanos = (cpuMillis: number, ms: number) => cpuMillis * 1_000 * ms;

describe('an estimate of usage', () => {
  it('is the peak after a warm-up, and is recorded again only when it has changed by much', () => {
    const estimator = new UsageEstimator(0);
    let cpuNanos = 0;
    const told: unknown[] = [];
    for (let at = 10 * second; at <= 5 * usageWarmUpMs; at += 10 * second) {
      cpuNanos += nanos(at === 30 * second ? 800 : 400, 10 * second);
      const estimate = estimator.sample({ cpuNanos, memoryBytes: 1_000 }, at);
      if (estimate) told.push({ at, ...estimate });
    }
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ at: usageWarmUpMs, memoryBytes: 1_000 });
    expect((told[0] as { cpuMillis: number }).cpuMillis).toBeGreaterThan(760);
    const grown = estimator.sample({ cpuNanos, memoryBytes: 2_000 }, 6 * usageWarmUpMs);
    expect(grown).toMatchObject({ memoryBytes: 2_000 });
    const soon = 6 * usageWarmUpMs + usageRecordIntervalMs - 1;
    expect(estimator.sample({ cpuNanos, memoryBytes: 9_000 }, soon)).toBeUndefined();
  });

  it('fades by half in a half-life', () => {
    const estimator = new UsageEstimator(0);
    estimator.sample({ memoryBytes: 1_000 }, 1);
    const later = estimator.sample({ memoryBytes: 0 }, 1 + usageHalfLifeMs);
    expect(later?.memoryBytes).toBe(500);
  });
});

describe('the watch over a node', () => {
  it('asks only while it is asked, and passes over guests that cannot say', async () => {
    let now = 0;
    let asked = false;
    const recorded: NewEvent[] = [];
    const looks: string[] = [];
    const guest = (instance: string, stats: () => Promise<GuestStats>) => ({
      instance,
      stats: () => {
        looks.push(instance);
        return stats();
      },
    });
    const watch = new UsageWatch({
      node: 'n1',
      clock: { now: () => now, after: () => () => {} },
      asked: () => asked,
      guests: () => [
        guest('mute', () => Promise.reject(new Error('no'))),
        guest('a', () => Promise.resolve({ memoryBytes: 5, pids: 2 })),
      ],
      record: async (events) => recorded.push(...events),
      onFailure: (error) => {
        throw error;
      },
    });
    await watch.look();
    expect(looks).toEqual([]);
    asked = true;
    for (; now <= usageWarmUpMs + 2 * usageSampleMs; now += usageSampleMs) await watch.look();
    expect(recorded).toEqual([
      {
        type: 'GuestUsageEstimated',
        data: { instance: 'a', node: 'n1', usage: { cpuMillis: 0, memoryBytes: 5, diskBytes: 0, pids: 2 } },
      },
    ]);
  });
});
