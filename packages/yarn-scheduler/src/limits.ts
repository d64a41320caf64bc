import type { Application } from './application.ts';
import type { YarnConfig } from './config.ts';
import type { Queue } from './queues/queue.ts';

/** Amount of both accounted resources. */
export type Amount = readonly [cpu: number, memory: number];

/**
 * What one user may have of a queue in a partition. Hadoop documentation, "Capacity Scheduler",
 * minimum-user-limit-percent and user-limit-factor: the capacity is divided among the users who ask, each gets at
 * least the minimum share, and none more than the factor times what the queue is guaranteed.
 * @param activeWeight the weights of the users who have or ask for something at present, summed
 */
export function userLimit(
  queue: Queue,
  partition: number,
  user: string,
  activeWeight: number,
  request: Amount,
  cluster: Amount,
): Amount {
  const { minimumUserLimitPercent, userLimitFactor, userWeights } = queue.settings;
  const weight = userWeights[user] ?? 1;
  return [limitOf(0), limitOf(1)];

  function limitOf(dimension: 0 | 1): number {
    const at = 2 * partition + dimension;
    const used = queue.used[at]!;
    const guaranteed = queue.guaranteed[at]!;
    const most = userLimitFactor < 0 ? Number.POSITIVE_INFINITY : guaranteed * userLimitFactor * weight;
    // a queue that is guaranteed nothing lives on what others leave: the factor has nothing to multiply
    const capped = guaranteed === 0 || most >= cluster[dimension] ? Number.POSITIVE_INFINITY : most;
    const current = used < guaranteed ? guaranteed : used + request[dimension];
    const share = Math.max(current / Math.max(activeWeight, weight), (current * minimumUserLimitPercent) / 100);
    return Math.min(share * weight, capped);
  }
}

/** Whether the user is above the limit. As upstream, the instance that reaches the limit may exceed it. */
export function isAbove(used: Float64Array, partition: number, limit: Amount, byMemoryOnly: boolean): boolean {
  if (used[2 * partition + 1]! > limit[1]) return true;
  return !byMemoryOnly && used[2 * partition]! > limit[0];
}

/** The closest queue, from this one upwards, that runs as many applications as it may. */
export function parallelLimit(queue: Queue, started: ReadonlyMap<Queue, number>): Queue | undefined {
  for (let at: Queue | undefined = queue; at; at = at.parent) {
    const most = at.settings.maxParallelApps;
    if (most !== undefined && runningIn(at) + (started.get(at) ?? 0) >= most) return at;
  }
  return undefined;
}

/** Applications that have something placed, in the queue and those below it. */
export function runningIn(queue: Queue): number {
  return queue.children.reduce((sum, child) => sum + runningIn(child), queue.running);
}

/**
 * What application masters may take of a queue: its share (`maximum-am-resource-percent`) of the most that the queue
 * may have.
 */
export function masterLimit(queue: Queue, config: YarnConfig, totals: Float64Array): Amount {
  const share = queue.settings.maximumAmResourcePercent ?? config.maximumAmResourcePercent;
  return [Math.min(queue.maximum[0]!, totals[0]!) * share, Math.min(queue.maximum[1]!, totals[1]!) * share];
}

/** What the masters of the applications that run in the queue take. */
export function mastersUse(queue: Queue): [number, number] {
  const sum: [number, number] = [0, 0];
  for (const application of queue.applications) if (application.placed > 0) addMaster(sum, application);
  return sum;
}

/** The oldest instance of an application is its master. */
export function addMaster(sum: [number, number], { master }: Application): void {
  if (!master) return;
  sum[0] += master.shape.cpu;
  sum[1] += master.shape.memory;
}
