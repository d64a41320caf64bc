import { type InstanceRecord, type Shape, width } from '@cloudos/placement';
import type { YarnState } from '../yarn-state.ts';

/**
 * Which node is kept for an instance that fits nowhere: of those that are large enough, the one that lacks least, so
 * that it is free soonest. A node is kept for one instance at a time, and an application has one node kept. As the
 * capacity scheduler reserves containers (`LeafQueue`, reservations).
 * @param neverLarge shapes for which none was found in this round; added to
 * @returns the slot; -1 where no node could ever take it, or enough nodes are kept
 */
export function chooseReserved(
  state: YarnState,
  record: InstanceRecord,
  partition: number,
  neverLarge: Set<Shape>,
): number {
  const { reservations, partitions } = state;
  const { nodes } = state.cluster;
  const { shape, workload } = record;
  if (neverLarge.has(shape) || allKept(state, partition)) return -1;
  const slots = partitions.slots(partition);
  const kept = new Set<number>();
  for (const [other, slot] of reservations) {
    if (other.workload === workload) return -1;
    kept.add(slot);
  }
  const pinned = shape.demand.node === undefined ? -1 : nodes.slotOf(shape.demand.node);
  if (shape.demand.node !== undefined && pinned < 0) return -1;
  let best = -1;
  let bestMissing = Number.POSITIVE_INFINITY;
  for (const slot of pinned >= 0 ? [pinned] : slots) {
    if (
      nodes.open[slot] !== 1 ||
      kept.has(slot) ||
      !nodes.meets(slot, shape) ||
      !state.cluster.companyAllows(record, slot)
    )
      continue;
    if (!shape.custom.every(([name, amount]) => nodes.custom(name).capacityOf(slot) >= amount)) continue;
    let missing = 0;
    for (let dimension = 0; dimension < width; dimension++) {
      const at = slot * width + dimension;
      const wanted = shape.amount(dimension);
      if (wanted > nodes.capacity[at]!) missing = Number.POSITIVE_INFINITY;
      else missing += Math.max(0, wanted - nodes.free[at]! - nodes.leaving[at]!) * nodes.inverse[at]!;
    }
    if (missing >= bestMissing) continue;
    bestMissing = missing;
    best = slot;
  }
  if (best < 0 && kept.size === 0 && !state.cluster.company.binds(record.kin)) neverLarge.add(shape);
  return best;
}

/** Whether as many nodes are kept as may be kept. */
export function allKept({ reservations, partitions, config }: YarnState, partition: number): boolean {
  const nodes = partitions.slots(partition).length;
  return reservations.size >= Math.max(1, Math.floor(nodes * config.reservations.nodesShareMax));
}
