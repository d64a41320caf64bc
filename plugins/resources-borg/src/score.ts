import {
  type Cluster,
  hasImage,
  type Kin,
  meets,
  type NodeTable,
  type Requirement,
  type Shape,
  type WorkloadRecord,
  width,
} from '@cloudos/placement';
import { productionBand } from './bands.ts';

/**
 * What counts how much (Borg, EuroSys 2015, section 3.2, names the criteria and not their weights). The second of two
 * instances on one node outweighs any gain in packing.
 */
export const weights = {
  fit: 1,
  stranding: 1,
  mix: 0.25,
  sameNode: 2,
  sameDomain: 0.5,
  image: 0.2,
  wish: 0.5,
} as const;

/**
 * How well an instance packs on a node; more is better. Hybrid of best fit and stranding minimisation: full nodes are
 * preferred, but not where cores and memory would then be used unevenly, because what is left of one cannot be used
 * without the other; nor where there are only others of its kind: production and the rest are mixed, so that the one
 * can grow at the cost of the other.
 */
export function packing(nodes: NodeTable, slot: number, shape: Shape, tier: number): number {
  const at = slot * width;
  const { capacity, inverse, free } = nodes;
  const cpuBefore = (capacity[at]! - free[at]!) * inverse[at]!;
  const memoryBefore = (capacity[at + 1]! - free[at + 1]!) * inverse[at + 1]!;
  const cpu = cpuBefore + shape.cpu * inverse[at]!;
  const memory = memoryBefore + shape.memory * inverse[at + 1]!;
  const disk = (capacity[at + 2]! - free[at + 2]! + shape.disk) * inverse[at + 2]!;
  const fit = (cpu + memory + disk) / 3;
  const stranding = Math.abs(cpu - memory) - Math.abs(cpuBefore - memoryBefore);
  return weights.fit * fit - weights.stranding * stranding + weights.mix * mixing(nodes, at, tier);
}

/** Share of the node's cores that the others have: production for the rest, the rest for production. */
function mixing({ tiers, inverse }: NodeTable, at: number, tier: number): number {
  const [from, to] = tier >= productionBand ? [0, productionBand] : [productionBand, tiers.length];
  let used = 0;
  for (let other = from; other < to; other++) used += tiers[other]![at]!;
  return used * inverse[at]!;
}

/**
 * What it costs that instances of the workload are on the node or in its failure domains already, before it is divided
 * by how many of them are placed: by the share that one failure would take. Never negative.
 */
export function crowding(nodes: NodeTable, slot: number, workload: WorkloadRecord): number {
  if (workload.placed === 0) return 0;
  let penalty = weights.sameNode * workload.onNode.get(slot);
  for (let domain = 0; domain < nodes.domains.length; domain++) {
    const value = nodes.domains[domain]!.values[slot]!;
    if (value >= 0) penalty += weights.sameDomain * (workload.inDomain[domain]?.[value] ?? 0);
  }
  return penalty;
}

/** What one more instance on `other` adds to the crowding of `slot`. */
export function domainCrowding({ domains }: NodeTable, slot: number, other: number): number {
  let penalty = 0;
  for (let domain = 0; domain < domains.length; domain++) {
    const { values } = domains[domain]!;
    if (values[slot]! >= 0 && values[slot] === values[other]) penalty += weights.sameDomain;
  }
  return penalty;
}

/** What draws an instance to the node: its image is there, and the company that it wishes for. */
export function attraction(cluster: Cluster, slot: number, kin: Kin, requirement: Requirement): number {
  let drawn = hasImage(cluster, slot, kin.profile.image) ? weights.image : 0;
  for (const bound of kin.rules) {
    if (bound.rule.required || !meets(bound, requirement, slot)) continue;
    drawn += (weights.wish * (bound.rule.weight ?? 100)) / 100;
  }
  return drawn;
}
