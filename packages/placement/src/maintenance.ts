import { event, type NewEvent } from '@cloudos/sdk';
import type { Cluster } from './cluster.ts';
import { maintenanceReason } from './node-events.ts';

/**
 * Nodes whose maintenance is near are cordoned and drained, those whose maintenance is over take instances again.
 * @param noticeMs how long before it begins a node is drained
 * @returns what is due at `now`, and when the next is
 */
export function decideMaintenance(
  cluster: Cluster,
  noticeMs: number,
  now: number,
): { readonly events: readonly NewEvent[]; readonly wakeAt?: number } {
  if (cluster.maintained.size === 0) return { events: [] };
  const events: NewEvent[] = [];
  let wakeAt = Number.POSITIVE_INFINITY;
  for (const slot of cluster.maintained) {
    const { id: node, maintenance, cordoned } = cluster.nodes.facts[slot]!;
    const { from, durationMs, begun } = maintenance!;
    const end = from + durationMs;
    if (now >= end) {
      events.push(event('MaintenanceCancelled', { node }));
      if (begun && cordoned) events.push(event('NodeUncordoned', { node }));
    } else if (begun) {
      wakeAt = Math.min(wakeAt, end);
    } else if (now >= from - noticeMs) {
      const reason = `${maintenanceReason} from ${new Date(from).toISOString()} for ${durationMs} ms`;
      events.push(event('NodeCordoned', { node, reason, drain: true }));
    } else {
      wakeAt = Math.min(wakeAt, from - noticeMs);
    }
  }
  return { events, ...(Number.isFinite(wakeAt) && { wakeAt }) };
}
