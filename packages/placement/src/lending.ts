import type { EventData } from '@cloudos/sdk';
import type { Cluster } from './cluster.ts';
import type { InstanceRecord } from './instance-record.ts';
import { width } from './resource-vector.ts';

/** The guest is expected to need that much: the rest of its request, less a margin, is idle and can be lent. */
export function estimateUsage(cluster: Cluster, { instance, node, usage }: EventData<'GuestUsageEstimated'>): void {
  const { lending } = cluster.options;
  const record = cluster.instances.get(instance);
  if (!lending || !record || record.slot < 0 || cluster.nodes.facts[record.slot]!.id !== node) return;
  const grown = 1 + lending.margin;
  const idleCpu = Math.max(0, Math.floor(record.shape.cpu - usage.cpuMillis * grown));
  const idleMemory = Math.max(0, Math.floor(record.shape.memory - usage.memoryBytes * grown));
  lend(cluster, record, idleCpu, idleMemory);
}

/** That much of what the record has asked for is idle from now on. */
export function lend(cluster: Cluster, record: InstanceRecord, idleCpu: number, idleMemory: number): void {
  if (idleCpu === record.idleCpu && idleMemory === record.idleMemory) return;
  cluster.nodes.lend(record.slot, idleCpu - record.idleCpu, idleMemory - record.idleMemory);
  record.idleCpu = idleCpu;
  record.idleMemory = idleMemory;
  reviewOverdraft(cluster, record.slot);
}

/** Whether more than there is may be needed on the node: noted while anything can be lent. */
export function reviewOverdraft({ options, nodes, overdrawn }: Cluster, slot: number): void {
  if (!options.lending) return;
  const short = nodes.spare[slot * width]! < 0 || nodes.spare[slot * width + 1]! < 0;
  if (short && nodes.facts[slot]!.state === 'ready') overdrawn.add(slot);
  else overdrawn.delete(slot);
}
