import {
  type Cluster,
  type InstanceRecord,
  type NodeTable,
  type PlacementStrategy,
  placementPolicy,
  type Shape,
  type WorkloadRecord,
  width,
} from '@cloudos/placement';
import type { Policy, ResourcesCommand } from '@cloudos/sdk';

export interface SpreadOptions {
  /** Events that one `react` decides at most; the rest follows at once in further calls. */
  readonly decisionsMax: number;
}

/** Grace in preemptions (drains) of instances whose workload was never declared. */
const graceMs = 30_000;

/**
 * The plain one: each instance goes to the feasible node that has the fewest of its workload, and among those to the
 * least used one. Nobody is preempted. Looks at every node for every placement.
 */
export function spreadPolicy({ decisionsMax }: SpreadOptions): Policy<Cluster, ResourcesCommand> {
  return placementPolicy(
    { name: 'resources-spread', tiers: 1, tierOf: () => 0, domains: [], eventsMax: decisionsMax, graceMs },
    (cluster) => new SpreadRound(cluster),
  );
}

class SpreadRound implements PlacementStrategy {
  readonly #cluster: Cluster;
  readonly #nodes: NodeTable;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#nodes = cluster.nodes;
  }

  choose(record: InstanceRecord): number {
    const { shape, workload } = record;
    const { node } = shape.demand;
    const first = node === undefined ? 0 : Math.max(0, this.#nodes.slotOf(node));
    const end = node === undefined ? this.#nodes.count : this.#nodes.slotOf(node) + 1;
    let best = -1;
    let bestCost = Number.POSITIVE_INFINITY;
    for (let slot = first; slot < end; slot++) {
      if (!this.#nodes.fits(slot, shape) || !this.#cluster.companyAllows(record, slot)) continue;
      const cost = costOf(this.#nodes, slot, shape, workload);
      if (cost >= bestCost) continue;
      bestCost = cost;
      best = slot;
    }
    return best;
  }
}

/** Instances of the workload there, then (below 1) how full the fullest resource would be. */
function costOf(nodes: NodeTable, slot: number, shape: Shape, workload: WorkloadRecord): number {
  const at = slot * width;
  let fullest = 0;
  for (let dimension = 0; dimension < width; dimension++) {
    const used = nodes.capacity[at + dimension]! - nodes.free[at + dimension]! + shape.amount(dimension);
    fullest = Math.max(fullest, used * nodes.inverse[at + dimension]!);
  }
  return workload.onNode.get(slot) * 2 + fullest;
}
