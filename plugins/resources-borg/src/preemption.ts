import {
  type Cluster,
  type InstanceRecord,
  type NodeTable,
  type Preemption,
  type Shape,
  width,
} from '@cloudos/placement';

/** Nodes on which victims are chosen and compared; the first of them that would do, in a scattered order. */
export const preemptionCandidatesMax = 64;

/** Whether the node might take the shape if everything of lower bands left it. Sure when it says no. */
export function couldMakeRoom(nodes: NodeTable, slot: number, shape: Shape, band: number): boolean {
  if (nodes.open[slot] !== 1 || !nodes.meets(slot, shape)) return false;
  const at = slot * width;
  for (let dimension = 0; dimension < width; dimension++) {
    if (shape.amount(dimension) === 0) continue;
    let kept = shape.amount(dimension) + nodes.reserved[at + dimension]! - nodes.leaving[at + dimension]!;
    for (let tier = band; tier < nodes.tiers.length; tier++) kept += nodes.tiers[tier]![at + dimension]!;
    if (kept > nodes.capacity[at + dimension]!) return false;
  }
  return shape.custom.every(([name, amount]) => nodes.custom(name).capacityOf(slot) >= amount);
}

/**
 * Where to make room with the fewest preemptions; among equals where the least important lose. Where waiting for
 * those who leave already is enough, nobody is preempted.
 * @param first the slot to begin with
 */
export function findPreemption(
  cluster: Cluster,
  record: InstanceRecord,
  spared: ReadonlySet<InstanceRecord>,
  first: number,
): Preemption | undefined {
  const { nodes } = cluster;
  let best: Preemption | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  let candidates = 0;
  const pinned = record.shape.demand.node;
  const begin = pinned === undefined ? first : nodes.slotOf(pinned);
  const steps = pinned === undefined ? nodes.count : begin < 0 ? 0 : 1;
  for (let step = 0; step < steps && candidates < preemptionCandidatesMax; step++) {
    const slot = (begin + step) % nodes.count;
    if (!couldMakeRoom(nodes, slot, record.shape, record.tier) || !cluster.companyAllows(record, slot)) continue;
    const victims = chooseVictims(cluster, slot, record, spared);
    if (!victims) continue;
    if (victims.length === 0) return { slot, victims };
    candidates++;
    const cost = victims.length * 1_001 + Math.max(...victims.map(({ priority }) => priority));
    if (cost >= bestCost) continue;
    bestCost = cost;
    best = { slot, victims };
  }
  return best;
}

/** The least important, youngest first, and no more than needed. Undefined: all of them would not do. */
function chooseVictims(
  { nodes, allocs }: Cluster,
  slot: number,
  record: InstanceRecord,
  spared: ReadonlySet<InstanceRecord>,
): InstanceRecord[] | undefined {
  const missing = missingOn(nodes, slot, record.shape);
  if (missing.every((amount) => amount <= 0)) return [];
  const eligible = [...nodes.facts[slot]!.instances]
    .filter((other) => other.phase === 'placed' && other.tier < record.tier && !spared.has(other))
    // who runs in an alloc has nothing of the node: the alloc has
    .filter((other) => !allocs.around(other))
    .sort((one, other) => one.priority - other.priority || other.order - one.order);
  const chosen: InstanceRecord[] = [];
  for (const victim of eligible) {
    if (missing.every((amount) => amount <= 0)) break;
    chosen.push(victim);
    release(missing, victim.shape, record.shape, 1);
  }
  if (missing.some((amount) => amount > 0)) return undefined;
  return chosen
    .toReversed()
    .filter((victim) => {
      release(missing, victim.shape, record.shape, -1);
      if (missing.every((amount) => amount <= 0)) return false;
      release(missing, victim.shape, record.shape, 1);
      return true;
    })
    .toReversed();
}

/** What the node lacks for the shape once those who leave are gone: dimensions, custom resources, ports. */
function missingOn(nodes: NodeTable, slot: number, shape: Shape): number[] {
  const at = slot * width;
  const missing: number[] = [];
  for (let dimension = 0; dimension < width; dimension++) {
    const used = nodes.used[at + dimension]! - nodes.leaving[at + dimension]! + nodes.reserved[at + dimension]!;
    const wanted = shape.amount(dimension);
    missing.push(wanted === 0 ? Number.NEGATIVE_INFINITY : wanted + used - nodes.capacity[at + dimension]!);
  }
  for (const [name, amount] of shape.custom) {
    const column = nodes.custom(name);
    missing.push(amount + column.reservedOf(slot) - column.leftOf(slot) - column.leavingOf(slot));
  }
  for (const port of shape.hostPorts) missing.push(holdersOf(nodes, slot, port));
  return missing;
}

/** How many hold the port, or wait for it, and do not leave. */
function holdersOf(nodes: NodeTable, slot: number, port: number): number {
  const { ports, instances } = nodes.facts[slot]!;
  let holders = ports?.get(port) ?? 0;
  if (holders === 0) return 0;
  for (const other of instances) if (other.phase === 'leaving' && other.shape.hostPorts.includes(port)) holders--;
  return holders;
}

function release(missing: number[], victim: Shape, wanted: Shape, by: 1 | -1): void {
  for (let dimension = 0; dimension < width; dimension++) {
    missing[dimension] = missing[dimension]! - by * victim.amount(dimension);
  }
  wanted.custom.forEach(([name], index) => {
    const amount = victim.custom.find(([own]) => own === name)?.[1] ?? 0;
    missing[width + index] = missing[width + index]! - by * amount;
  });
  wanted.hostPorts.forEach((port, index) => {
    const at = width + wanted.custom.length + index;
    if (victim.hostPorts.includes(port)) missing[at] = missing[at]! - by;
  });
}
