import type { GuestStats } from '@cloudos/sdk';
import type { Container } from 'dockerode';
import { engineError } from './engine.ts';

/** Memory that the container has and cannot give back: what is not of files. */
export async function fixedBytes(container: Container): Promise<number> {
  const { memory_stats: memory } = await container.stats(once).catch(failed(container));
  // v1 and v2 name it differently.
  const { total_rss: rss, anon } = (memory.stats ?? {}) as { total_rss?: number; anon?: number };
  return anon ?? rss ?? 0;
}

const once = { stream: false, 'one-shot': true } as const;
const failed =
  ({ id }: Container) =>
  (error: unknown) =>
    Promise.reject(engineError(error, `usage of ${id}`));

/** What the container uses now, as the engine reads it from its control groups. */
export async function usageOf(container: Container): Promise<GuestStats> {
  const stats = await container.stats(once).catch(failed(container));
  const { memory_stats: memory, cpu_stats: cpu, pids_stats: pids, networks } = stats;
  // What can be dropped at any time is not the guest's need: v1 and v2 name it differently.
  const cache = memory.stats?.total_inactive_file ?? memory.stats?.inactive_file ?? 0;
  const interfaces = Object.values(networks ?? {});
  const sum = (field: 'rx_bytes' | 'tx_bytes') => interfaces.reduce((total, each) => total + each[field], 0);
  return {
    cpuNanos: cpu.cpu_usage.total_usage,
    ...(memory.usage === undefined ? {} : { memoryBytes: Math.max(0, memory.usage - cache) }),
    ...(memory.max_usage === undefined ? {} : { memoryPeakBytes: memory.max_usage }),
    // The init is not the guest's own.
    ...(pids?.current === undefined ? {} : { pids: Math.max(0, pids.current - 1) }),
    ...(interfaces.length > 0 && { networkReceivedBytes: sum('rx_bytes'), networkSentBytes: sum('tx_bytes') }),
  };
}
