import { performance } from 'node:perf_hooks';
import type { NewEvent } from '@cloudos/sdk';

/** What a closed loop of appends came to. */
export interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Keeps that many appends in flight for that long. */
export async function closedLoop(
  inFlight: number,
  durationMs: number,
  append: (n: number) => Promise<unknown>,
): Promise<Load> {
  const latencies: number[] = [];
  let next = 0;
  const begin = performance.now();
  const end = begin + durationMs;
  const lane = async () => {
    for (let now = performance.now(); now < end; ) {
      await append(next++);
      const after = performance.now();
      latencies.push(after - now);
      now = after;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  const seconds = (performance.now() - begin) / 1000;
  const sorted = Float64Array.from(latencies).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

export const streamCount = 1000;
export const streams: readonly string[] = Array.from({ length: streamCount }, (_, n) => `node-n${n}`);

/** 4,096 different events of about 250 bytes each as JSON. */
export const eventPool: readonly NewEvent[] = Array.from({ length: 4096 }, (_, n) => ({
  type: 'GuestStarted',
  data: {
    instance: `web-7d9f8c6b5-${n.toString(36).padStart(5, '0')}`,
    node: `n${n % streamCount}`,
    runtime: 'zones',
    attempt: 1 + (n % 3),
    address: { host: `10.${n % 200}.${n % 250}.2`, ports: { '8080': 30_000 + (n % 2000) } },
    pid: 4000 + n,
    note: 'the guest runs, its namespaces are its own, and its limits hold; '.padEnd(76, '.'),
  },
}));
