import { type EventData, event, type NewEvent, type RecordedEvent, type SharedEvent } from '@cloudos/sdk';
import { Cluster } from './cluster.ts';
import type { ClusterOptions } from './cluster-options.ts';
import { Requirement } from './requirement.ts';
import { Shape } from './shape.ts';

export const gib = 1024 ** 3;

/** Whole numbers that look like chance and repeat themselves for a seed (mulberry32). */
export function chance(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below);
  };
}

export const vector = (cpuMillis: number, some: Partial<EventData<'NodeJoined'>['capacity']> = {}) => ({
  cpuMillis,
  memoryBytes: 0,
  diskBytes: 0,
  pids: 0,
  ...some,
});

/** What asks for so much, of nodes of whatever kind. */
export function shape(requests: ReturnType<typeof vector>, hostPorts: readonly number[] = []): Shape {
  return new Shape('', { requests, hostPorts }, new Requirement('', undefined, [], []));
}

type Request = EventData<'InstanceRequested'>;

export const joined = (node: string, some: Partial<EventData<'NodeJoined'>> = {}) =>
  event('NodeJoined', {
    ...{ node, capacity: vector(4_000, { memoryBytes: 16 * gib, diskBytes: 100 * gib, pids: 1_000 }), attributes: {} },
    ...{ runtimes: [{ name: 'zones', version: '1', features: {} }] },
    ...some,
  });
export const requested = (instance: string, some: Partial<Request> = {}) =>
  event('InstanceRequested', {
    ...{ instance, workload: 'default/w', revision: 1, requests: vector(1_000), priority: 100 },
    ...some,
  });
export const placed = (instance: string, node: string) => event('InstancePlaced', { instance, node });
export const removed = (instance: string, node: string) => event('GuestRemoved', { instance, node });
export const withdrawn = (instance: string) =>
  event('InstanceWithdrawn', { instance, reason: '', drainMs: 0, graceMs: 0 });

export function cluster(options: Partial<ClusterOptions> = {}): Cluster {
  return new Cluster({ tiers: 2, tierOf: (priority) => (priority >= 200 ? 1 : 0), domains: ['zone'], ...options });
}

export function give(to: Cluster, ...events: readonly NewEvent[]): Cluster {
  for (const each of events) to.apply({ ...each, position: 0, time: 0 } as unknown as RecordedEvent as SharedEvent);
  return to;
}
