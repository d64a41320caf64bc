import { type NodeTable, type Shape, type WorkloadRecord, width } from '@cloudos/placement';

/** What counts how much. The second of two instances on one node outweighs any gain in packing. */
export const weights = { fit: 1, stranding: 1, sameNode: 2, sameDomain: 0.5 } as const;

/**
 * How well an instance packs on a node; more is better. Hybrid of best fit and stranding minimisation (Borg, EuroSys
 * 2015, section 3.2): full nodes are preferred, but not where cores and memory would then be used unevenly, because
 * what is left of one cannot be used without the other.
 */
export function packing(nodes: NodeTable, slot: number, shape: Shape): number {
  const at = slot * width;
  const { capacity, inverse, free } = nodes;
  const cpuBefore = (capacity[at]! - free[at]!) * inverse[at]!;
  const memoryBefore = (capacity[at + 1]! - free[at + 1]!) * inverse[at + 1]!;
  const cpu = cpuBefore + shape.cpu * inverse[at]!;
  const memory = memoryBefore + shape.memory * inverse[at + 1]!;
  const disk = (capacity[at + 2]! - free[at + 2]! + shape.disk) * inverse[at + 2]!;
  const fit = (cpu + memory + disk) / 3;
  const stranding = Math.abs(cpu - memory) - Math.abs(cpuBefore - memoryBefore);
  return weights.fit * fit - weights.stranding * stranding;
}

/**
 * What it costs that instances of the workload are on the node or in its failure domains already: by the share of
 * them that one failure would take. Never negative. That share is small in a large workload, which still packs.
 */
export function crowding(nodes: NodeTable, slot: number, workload: WorkloadRecord): number {
  if (workload.placed === 0) return 0;
  let penalty = weights.sameNode * (workload.onNode.get(slot) ?? 0);
  for (let domain = 0; domain < nodes.domains.length; domain++) {
    const value = nodes.domains[domain]![slot]!;
    if (value >= 0) penalty += weights.sameDomain * (workload.inDomain[domain]?.[value] ?? 0);
  }
  return penalty / workload.placed;
}
