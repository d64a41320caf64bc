import type { InstanceRecord } from '@cloudos/placement';
import type { Queue } from '../queues/queue.ts';
import type { YarnState } from '../yarn-state.ts';
import { idealAssignment } from './ideal-assignment.ts';
import type { Starving } from './yarn-round.ts';

type Pair = [cpu: number, memory: number];

/** Differences that are not worth anybody's place, as a share. */
const slack = 1e-6;
/** Queues that a reason names. */
const namesMax = 3;

export interface Victim {
  readonly record: InstanceRecord;
  readonly reason: string;
}

/** Who gives way; {@link dueAt}: when it is looked at again. */
export interface Preemptions {
  readonly victims: readonly Victim[];
  readonly dueAt?: number;
}

/**
 * What queues that use more than their due give back to queues that are starved of what they are guaranteed. After
 * `ProportionalCapacityPreemptionPolicy` of the capacity scheduler: an ideal assignment is worked out from guarantees
 * and demands; what a queue has beyond it is taken back, a part at a time (`natural_termination_factor`), no more of
 * the cluster than `total_preemption_per_round`, not more often than the monitoring interval; the youngest
 * application gives first, of it the least important and youngest instance, its master last.
 */
export function choosePreemptions(state: YarnState, starving: readonly Starving[], now: number): Preemptions {
  const { preemption } = state.config;
  if (!preemption.enabled || starving.length === 0 || !anyAbove(state)) return { victims: [] };
  const due = state.preemptedAt < 0 ? now : state.preemptedAt + preemption.monitoringIntervalMs;
  const victims: Victim[] = [];
  let contended = false;
  for (const partition of new Set(starving.map((each) => each.partition))) {
    const asked = starving.filter((each) => each.partition === partition);
    const { excess, starved } = excessOf(state, partition, asked);
    if (excess.size === 0) continue;
    contended = true;
    if (due <= now) victims.push(...victimsIn(state, partition, excess, starved));
  }
  if (victims.length > 0) return { victims, dueAt: now + preemption.monitoringIntervalMs };
  return contended && due > now ? { victims, dueAt: due } : { victims };
}

/** What a queue without children is to give back. */
interface Excess {
  /** In this round. */
  readonly now: Pair;
  /** In all: a victim that is larger would leave the queue with less than its due. */
  readonly all: Pair;
}

function excessOf(
  state: YarnState,
  partition: number,
  starving: readonly Starving[],
): { excess: Map<Queue, Excess>; starved: string } {
  const { config, tree, partitions } = state;
  const { preemption, resourceCalculator } = config;
  const at = 2 * partition;
  const total: Pair = [partitions.totals[at]!, partitions.totals[at + 1]!];
  const counted = resourceCalculator === 'default' ? ([1] as const) : ([0, 1] as const);
  const { ideal, used } = idealAssignment(
    tree.root,
    partition,
    total,
    leavingOf(state, partition),
    pendingOf(starving),
  );
  const starved = new Set(
    starving
      .map(({ queue }) => queue)
      .filter((queue) =>
        counted.some((dimension) => {
          const due = Math.min(ideal.get(queue)![dimension], queue.guaranteed[at + dimension]!);
          return used.get(queue)![dimension] < due * (1 - slack);
        }),
      ),
  );
  const excess = new Map<Queue, Excess>();
  for (const [queue, given] of ideal) {
    if (!queue.isLeaf || queue.settings.disablePreemption || starved.size === 0 || starved.has(queue)) continue;
    const has = used.get(queue)!;
    const all: Pair = [0, 0];
    for (const dimension of counted) {
      const ignored = queue.guaranteed[at + dimension]! * (1 + preemption.maxIgnoredOverCapacity);
      if (has[dimension] > ignored) all[dimension] = Math.max(0, has[dimension] - given[dimension]);
    }
    const { naturalTerminationFactor: factor } = preemption;
    if (all[0] > 0 || all[1] > 0) excess.set(queue, { all, now: [all[0] * factor, all[1] * factor] });
  }
  return {
    excess,
    starved: [...starved]
      .map(({ path }) => path)
      .sort()
      .slice(0, namesMax)
      .join(', '),
  };
}

function pendingOf(starving: readonly Starving[]): Map<Queue, Pair> {
  const pending = new Map<Queue, Pair>();
  for (const { queue, record, count } of starving) {
    const sum = pending.get(queue) ?? [0, 0];
    sum[0] += count * record.shape.cpu;
    sum[1] += count * record.shape.memory;
    pending.set(queue, sum);
  }
  return pending;
}

/** Whether any queue without children has more than it is guaranteed: mostly that says already that nobody gives way. */
function anyAbove({ tree }: YarnState): boolean {
  let leaves = 0;
  let above = false;
  for (const queue of tree.queues) {
    if (!queue.isLeaf) continue;
    leaves++;
    above ||= !queue.settings.disablePreemption && queue.used.some((amount, at) => amount > queue.guaranteed[at]!);
  }
  return above && leaves > 1;
}

/** What is about to be given back anyway, by queue without children. */
function leavingOf({ cluster, applications, partitions }: YarnState, partition: number): Map<Queue, Pair> {
  const leaving = new Map<Queue, Pair>();
  for (const slot of partitions.slots(partition)) {
    const facts = cluster.nodes.facts[slot]!;
    if (facts.leaving === 0) continue;
    for (const { phase, shape, workload } of facts.instances) {
      const queue = phase === 'leaving' ? applications.get(workload.name)?.queue : undefined;
      if (!queue) continue;
      const sum = leaving.get(queue) ?? [0, 0];
      sum[0] += shape.cpu;
      sum[1] += shape.memory;
      leaving.set(queue, sum);
    }
  }
  return leaving;
}

function victimsIn(state: YarnState, partition: number, excess: ReadonlyMap<Queue, Excess>, starved: string): Victim[] {
  const { totals } = state.partitions;
  const { totalPreemptionPerRound } = state.config.preemption;
  const budget = [0, 1].map((dimension) => totals[2 * partition + dimension]! * totalPreemptionPerRound) as Pair;
  const victims: Victim[] = [];
  for (const [queue, { now, all }] of [...excess].sort(([one], [other]) => one.index - other.index)) {
    const reason = `queue ${queue.path} uses more than it is guaranteed, ${starved} less and asks for it`;
    for (const record of candidates(state, queue, partition)) {
      if (now[0] <= 0 && now[1] <= 0) break;
      const wanted: Pair = [record.shape.cpu, record.shape.memory];
      if (!helps(now, wanted) || !spares(all, wanted)) continue;
      if (victims.length > 0 && (wanted[0] > budget[0] || wanted[1] > budget[1])) continue;
      victims.push({ record, reason });
      for (const dimension of [0, 1] as const) {
        if (all[dimension] > 0) all[dimension] -= wanted[dimension];
        now[dimension] -= wanted[dimension];
        budget[dimension] -= wanted[dimension];
      }
    }
  }
  return victims;
}

function helps(now: Pair, wanted: Pair): boolean {
  return (now[0] > 0 && wanted[0] > 0) || (now[1] > 0 && wanted[1] > 0);
}

/** Whether the queue keeps its due of what it has too much of. */
function spares(all: Pair, wanted: Pair): boolean {
  return (all[0] <= 0 || wanted[0] <= all[0] * (1 + slack)) && (all[1] <= 0 || wanted[1] <= all[1] * (1 + slack));
}

/** In the order in which they give way. */
function* candidates(state: YarnState, queue: Queue, partition: number): Iterable<InstanceRecord> {
  const managed = state.config.applicationMaster === 'first-instance';
  const youngestFirst = [...queue.applications].sort((one, other) => other.order - one.order);
  for (const master of managed ? [false, true] : [undefined]) {
    for (const application of youngestFirst) {
      const placed = [...application.instances].filter(
        (record) =>
          record.phase === 'placed' &&
          state.partitions.of(record.slot) === partition &&
          (master === undefined || (record === application.master) === master),
      );
      yield* placed.sort((one, other) => one.priority - other.priority || other.order - one.order);
    }
  }
}
