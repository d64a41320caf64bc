import type { EventData, SharedEvent } from '@cloudos/sdk';
import { vacateAlloc } from './alloc-sets.ts';
import type { Cluster } from './cluster.ts';
import { reviewOverdraft } from './lending.ts';

/** How a reason begins that a node is cordoned for when its maintenance is near. */
export const maintenanceReason = 'maintenance';

/** Takes in an event about nodes. Types that do not concern them are ignored. */
export function applyNodeEvent(cluster: Cluster, event: SharedEvent): void {
  switch (event.type) {
    case 'NodeJoined':
      return join(cluster, event.data);
    case 'NodeCapacityChanged':
      return describe(cluster, cluster.nodes.ensure(event.data.node), event.data);
    case 'NodeLost':
      return lose(cluster, event.data.node, 'lost');
    case 'NodeLeft':
      return lose(cluster, event.data.node, 'left');
    case 'NodeCordoned': {
      const { node, reason, drain } = event.data;
      cordon(cluster, node, true, drain === true);
      const maintenance = cluster.nodes.facts[cluster.nodes.slotOf(node)]?.maintenance;
      if (maintenance && reason.startsWith(maintenanceReason)) maintenance.begun = true;
      return;
    }
    case 'NodeUncordoned':
      return cordon(cluster, event.data.node, false, false);
    case 'NodeDrained': {
      const facts = cluster.nodes.facts[cluster.nodes.slotOf(event.data.node)];
      if (facts) facts.drained = true;
      return;
    }
    case 'MaintenanceScheduled':
      return maintain(cluster, event.data.node, event.data);
    case 'MaintenanceCancelled':
      return maintain(cluster, event.data.node, undefined);
  }
}

function join(cluster: Cluster, data: EventData<'NodeJoined'>): void {
  const slot = cluster.nodes.ensure(data.node);
  cluster.nodes.facts[slot]!.state = 'ready';
  describe(cluster, slot, data);
}

function describe(
  cluster: Cluster,
  slot: number,
  data: EventData<'NodeCapacityChanged'> & { attributes?: Record<string, string> },
): void {
  cluster.recount(slot, -1);
  cluster.nodes.describe(
    slot,
    data.capacity,
    data.runtimes.map(({ name }) => name),
    data.attributes,
  );
  cluster.recount(slot, 1);
  changed(cluster, slot);
  cluster.reviewNominees(slot);
}

function lose(cluster: Cluster, node: string, state: 'lost' | 'left'): void {
  const slot = cluster.nodes.slotOf(node);
  const facts = cluster.nodes.facts[slot];
  if (!facts) return;
  const parts = [...facts.instances].map((record) => cluster.allocs.of(record)).filter((alloc) => alloc !== undefined);
  for (const record of [...facts.instances]) if (!cluster.allocs.of(record)) cluster.forget(record);
  // a part that was closing lost its place with the last of those in it
  for (const part of parts) if (part.record.slot === slot) vacateAlloc(cluster, part);
  facts.state = state;
  if (state === 'left') {
    Object.assign(facts, { cordoned: false, draining: false, drained: false, maintenance: undefined });
    cluster.maintained.delete(slot);
  }
  if (!facts.draining) cluster.draining.delete(slot);
  cluster.requeueNominees(slot);
  changed(cluster, slot);
}

function cordon(cluster: Cluster, node: string, cordoned: boolean, drain: boolean): void {
  const slot = cluster.nodes.slotOf(node);
  const facts = cluster.nodes.facts[slot];
  if (!facts) return;
  facts.cordoned = cordoned;
  if (drain || !cordoned) {
    facts.draining = drain;
    facts.drained = false;
  }
  if (facts.draining) cluster.draining.add(slot);
  else cluster.draining.delete(slot);
  if (cordoned) cluster.requeueNominees(slot);
  changed(cluster, slot);
}

function changed(cluster: Cluster, slot: number): void {
  cluster.nodes.refresh(slot);
  cluster.shapes.reviewNode(slot);
  reviewOverdraft(cluster, slot);
  cluster.factsChangedAt = cluster.version;
}

function maintain(cluster: Cluster, node: string, when: { from: number; durationMs: number } | undefined): void {
  const slot = cluster.nodes.slotOf(node);
  const facts = cluster.nodes.facts[slot];
  if (!facts) return;
  facts.maintenance = when && { from: when.from, durationMs: when.durationMs, begun: false };
  if (when) cluster.maintained.add(slot);
  else cluster.maintained.delete(slot);
}
