import type { InstanceRecord, Shape } from '@cloudos/placement';
import type { Application } from '../application.ts';
import { type Amount, isAbove, userLimit } from '../limits.ts';
import type { Queue } from '../queues/queue.ts';
import { accessible } from '../queues/queue-shares.ts';
import type { YarnState } from '../yarn-state.ts';
import type { Obstacle } from './activation.ts';

/** What queues and users may have, during one round. */
export class Limits {
  readonly #state: YarnState;
  /** Users who ask, by queue: the weights of each. */
  readonly #active = new Map<Queue, { readonly weights: Map<string, number>; sum: number }>();
  readonly #partitions = new Map<Shape, Map<string, number>>();
  readonly #byMemoryOnly: boolean;

  constructor(state: YarnState) {
    this.#state = state;
    this.#byMemoryOnly = state.config.resourceCalculator === 'default';
  }

  /** The user asks for something in the queue. */
  activate(queue: Queue, user: string): void {
    let active = this.#active.get(queue);
    if (!active) {
      active = { weights: new Map(), sum: 0 };
      this.#active.set(queue, active);
    }
    if (active.weights.has(user)) return;
    const weight = queue.settings.userWeights[user] ?? 1;
    active.weights.set(user, weight);
    active.sum += weight;
  }

  /**
   * The partition that a request is about: the label that its constraints name, else the default label of the queue,
   * else the partition without a label.
   */
  partitionOf(shape: Shape, queue: Queue): number {
    const otherwise = queue.settings.defaultNodeLabel ?? '';
    let known = this.#partitions.get(shape);
    if (!known) {
      known = new Map();
      this.#partitions.set(shape, known);
    }
    let partition = known.get(otherwise);
    if (partition === undefined) {
      const { partitions, config } = this.#state;
      const { attribute } = config.nodeLabels;
      const named = shape.requirement.constraints
        .filter((constraint) => constraint.attribute === attribute && constraint.operator === 'in')
        .flatMap(({ values }) => values)
        .find((label) => partitions.numberOf(label) !== undefined);
      partition = partitions.numberOf(named ?? otherwise) ?? 0;
      known.set(otherwise, partition);
    }
    return partition;
  }

  /** What of queue and user stands in the way, in the order in which the capacity scheduler looks. */
  obstacle(record: InstanceRecord, application: Application, queue: Queue, partition: number): Obstacle | undefined {
    const { tree, reservations } = this.#state;
    const label = tree.labels[partition]!;
    if (partition > 0 && !accessible(queue, label)) {
      return { constraint: 'label', message: `queue ${queue.path} has no access to nodes with the label ${label}` };
    }
    const { cpu, memory } = record.shape;
    // what is reserved for it counts already
    if (!reservations.has(record)) {
      const limited = queue.limitedBy(partition, this.#byMemoryOnly ? 0 : cpu, memory);
      if (limited) return { constraint: 'queue limit', message: describeLimit(limited, partition, label) };
    }
    return this.#userObstacle(application, queue, partition, [cpu, memory]);
  }

  #userObstacle(
    { user, queueUser }: Application,
    queue: Queue,
    partition: number,
    request: Amount,
  ): Obstacle | undefined {
    const { totals } = this.#state.partitions;
    const cluster: Amount = [totals[2 * partition]!, totals[2 * partition + 1]!];
    const activeWeight = this.#active.get(queue)?.sum ?? 1;
    const limit = userLimit(queue, partition, user, activeWeight, request, cluster);
    if (!isAbove(queueUser!.used, partition, limit, this.#byMemoryOnly)) return undefined;
    const message = `user ${user} has what one user may have of queue ${queue.path} at present`;
    return { constraint: 'user limit', message };
  }
}

function describeLimit(queue: Queue, partition: number, label: string): string {
  const at = 2 * partition;
  const gib = (bytes: number) => `${Math.round((bytes / 1024 ** 3) * 10) / 10} GiB`;
  const used = `${Math.round(queue.used[at]!)}m cpu and ${gib(queue.used[at + 1]!)} memory`;
  const [cpu, memory] = [queue.maximum[at]!, queue.maximum[at + 1]!];
  const most = `${Number.isFinite(cpu) ? `${Math.round(cpu)}m` : 'any'} cpu and ${Number.isFinite(memory) ? gib(memory) : 'any'} memory`;
  return `queue ${queue.path} uses ${used}${label === '' ? '' : ` of ${label}`}, it may use at most ${most}`;
}
