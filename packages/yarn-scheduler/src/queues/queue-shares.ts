import type { Queue } from './queue.ts';
import { type AbsoluteAmount, accountedWidth, amountOf, parseCapacity } from './queue-capacity.ts';
import { type OwnerFacts, ownerOf, type Quota } from './queue-tree.ts';

/**
 * Divides each partition among the queues, from the root down. A share is one of what the parent is guaranteed, a
 * weight is relative to the siblings, an absolute amount is cut where the siblings together are guaranteed more than
 * their parent. A maximum is one of the parent's maximum. Only the nodes limit a queue that may have everything.
 */
export function shareOut(root: Queue, totals: Float64Array, labels: readonly string[], owners: OwnerFacts): void {
  for (let partition = 0; partition < labels.length; partition++) {
    const at = partition * accountedWidth;
    const total = [totals[at]!, totals[at + 1]!] as const;
    root.share[partition] = 1;
    root.shareMax[partition] = 1;
    setBoth(root.guaranteed, at, total[0], total[1]);
    setBoth(root.maximum, at, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    divide(root, { partition, label: labels[partition]!, total, owners });
  }
}

interface Division {
  readonly partition: number;
  readonly label: string;
  readonly total: readonly [cpu: number, memory: number];
  readonly owners: OwnerFacts;
}

function divide(parent: Queue, division: Division): void {
  const { partition, label, total, owners } = division;
  const at = partition * accountedWidth;
  const quotas = parent.children.map((child) => owners.quotas.get(ownerOf(child.path)!));
  const guaranteed = guaranteesOf(parent, division, quotas);
  for (const [index, child] of parent.children.entries()) {
    const [cpu, memory] = guaranteed[index]!;
    setBoth(child.guaranteed, at, cpu, memory);
    child.share[partition] = Math.max(part(cpu, total[0]), part(memory, total[1]));
    setMaximum(child, division, quotas[index]);
    if (partition === 0) setFairness(child, quotas[index]);
    if (!accessible(child, label)) {
      setBoth(child.guaranteed, at, 0, 0);
      setBoth(child.maximum, at, 0, 0);
    }
    divide(child, division);
  }
}

function guaranteesOf(
  parent: Queue,
  { partition, label }: Division,
  quotas: readonly (Quota | undefined)[],
): [number, number][] {
  const at = partition * accountedWidth;
  const own = [parent.guaranteed[at]!, parent.guaranteed[at + 1]!] as const;
  const capacities = parent.children.map((child) => {
    const given = label === '' ? child.settings.capacity : (child.settings.labels[label]?.capacity ?? '0%');
    return parseCapacity(given, child.path);
  });
  const weights = capacities.map((capacity, index) =>
    capacity.kind === 'weight' ? (quotas[index]?.weight ?? capacity.weight) : 0,
  );
  const weightSum = weights.reduce((sum, weight) => sum + weight, 0);
  const amounts = capacities.map((capacity, index): [number, number] => {
    if (capacity.kind === 'absolute') return amountOf(capacity.amount, 0);
    const share = capacity.kind === 'share' ? capacity.share : weightSum > 0 ? weights[index]! / weightSum : 0;
    return [own[0] * share, own[1] * share];
  });
  if (label === '') {
    for (const [index, quota] of quotas.entries()) {
      if (quota?.guarantee) amounts[index] = amountOf(quota.guarantee, 0);
    }
  }
  for (const dimension of [0, 1] as const) {
    const sum = amounts.reduce((total, amount) => total + amount[dimension], 0);
    const scale = sum > own[dimension] && sum > 0 ? own[dimension] / sum : 1;
    if (scale < 1) for (const amount of amounts) amount[dimension] *= scale;
  }
  return amounts;
}

function setMaximum(child: Queue, { partition, label, total }: Division, quota: Quota | undefined): void {
  const at = partition * accountedWidth;
  const parent = child.parent!;
  const given =
    label === '' ? child.settings.maximumCapacity : (child.settings.labels[label]?.maximumCapacity ?? '100%');
  const maximum = parseCapacity(given, child.path);
  const share = maximum.kind === 'share' ? maximum.share : 1;
  child.shareMax[partition] = parent.shareMax[partition]! * share;
  const most = child.shareMax[partition]!;
  let [cpu, memory]: [number, number] =
    most >= 1 ? [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY] : [total[0] * most, total[1] * most];
  const caps: AbsoluteAmount[] = [];
  if (maximum.kind === 'absolute') caps.push(maximum.amount);
  if (quota && label === '') caps.push(quota.limit);
  for (const cap of caps) {
    const [cpuMax, memoryMax] = amountOf(cap, Number.POSITIVE_INFINITY);
    cpu = Math.min(cpu, cpuMax);
    memory = Math.min(memory, memoryMax);
  }
  child.shareMax[partition] = Math.min(most, Math.max(part(cpu, total[0]), part(memory, total[1])));
  setBoth(child.maximum, at, cpu, memory);
}

/** A share of 40 % weighs 40; an absolute capacity, or what a quota promises, is the minimum of a fair queue. */
function setFairness(child: Queue, quota: Quota | undefined): void {
  const capacity = parseCapacity(child.settings.capacity, child.path);
  const own = capacity.kind === 'weight' ? capacity.weight : capacity.kind === 'share' ? capacity.share * 100 : 1;
  child.weight = quota?.weight ?? own;
  const promised = capacity.kind === 'absolute' || quota?.guarantee !== undefined;
  child.minimum = promised ? [child.guaranteed[0]!, child.guaranteed[1]!] : [0, 0];
}

/** Whether the queue may use nodes of that label: its own list, or that of the nearest queue above with one. */
export function accessible(queue: Queue, label: string): boolean {
  if (label === '') return true;
  for (let at: Queue | undefined = queue; at; at = at.parent) {
    const labels = at.settings.accessibleNodeLabels;
    if (labels !== undefined) return labels === '*' || labels.includes(label);
  }
  return true; // the root reaches every label unless it says otherwise
}

function part(amount: number, total: number): number {
  return total > 0 ? Math.min(1, amount / total) : 0;
}

function setBoth(target: Float64Array, at: number, cpu: number, memory: number): void {
  target[at] = cpu;
  target[at + 1] = memory;
}
