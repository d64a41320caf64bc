import { type InstanceRecord, PendingWalk } from '@cloudos/placement';
import type { Application } from '../application.ts';
import type { Queue } from '../queues/queue.ts';
import { TurnHeap } from '../turn-heap.ts';
import type { WaitingClass } from '../waiting.ts';
import type { YarnState } from '../yarn-state.ts';

/** What all turns of a round look at. */
export interface TurnContext {
  /** `resource-calculator: default`: cores do not count. */
  readonly byMemoryOnly: boolean;
  /** Of the whole cluster, over all partitions. */
  readonly total: readonly [cpu: number, memory: number];
}

/** Of that state. */
export function contextOf({ config, partitions }: YarnState): TurnContext {
  const { totals } = partitions;
  let [cpu, memory] = [0, 0];
  for (let at = 0; at < totals.length; at += 2) {
    cpu += totals[at]!;
    memory += totals[at + 1]!;
  }
  return { byMemoryOnly: config.resourceCalculator === 'default', total: [cpu, memory] };
}

/** Who of a queue without children is next: an application, or a class of instances that ask for the same. */
export interface Turn {
  readonly walk: PendingWalk;
  /** That of the one who is next. */
  readonly application: Application;
  readonly next: InstanceRecord | undefined;
  /** Where the one who is next waits among the others; where those are the same, applications go by their order. */
  readonly key: number;
  /** The one who is next was served. */
  advance(): void;
  rekey(policy: string, context: TurnContext): void;
}

/** An application during a round: who of it is next. */
export class ApplicationTurn implements Turn {
  readonly application: Application;
  readonly walk = new PendingWalk();
  /** Position among the others: the smaller the earlier. */
  key = 0;

  constructor(application: Application) {
    this.application = application;
    for (const group of application.groups) this.walk.add(group);
  }

  get next(): InstanceRecord | undefined {
    return this.walk.current();
  }

  advance(): void {
    this.walk.advance();
  }

  rekey(policy: string, context: TurnContext): void {
    this.key = keyOf(policy, context, this.application, this.next?.priority ?? 0);
  }
}

/** `fifo`: by priority, then by submission. `fair`: by memory in use. `drf`: by dominant share. */
function keyOf(policy: string, context: TurnContext, { cpu, memory }: Application, priority: number): number {
  if (policy === 'fair') return memory;
  return policy === 'drf' ? dominant(cpu, memory, context) : -priority;
}

/** A class during a round, in a queue that is served `fifo`; elsewhere one of a single application. */
export class ClassTurn implements Turn {
  readonly kind: WaitingClass;
  key: number;
  /** Index of the application whose turn it is. */
  at = -1;
  /** How many of it were served. */
  served = 0;
  /** No node can take any of those who are left. */
  hopeless = false;
  walk = new PendingWalk();

  constructor(kind: WaitingClass) {
    this.kind = kind;
    this.key = -kind.priority;
    this.skip();
  }

  get application(): Application {
    return this.kind.entries[this.at]!.application;
  }

  get next(): InstanceRecord | undefined {
    return this.walk.current();
  }

  advance(): void {
    this.served++;
    this.walk.advance();
    if (!this.walk.current()) this.skip();
  }

  /** The rest of the application is left out: it is the next one's turn. */
  skip(): void {
    do {
      this.walk = new PendingWalk();
      for (const group of this.kind.entries[++this.at]?.groups ?? []) this.walk.add(group);
    } while (!this.walk.current() && this.at < this.kind.entries.length);
  }

  rekey(policy: string, context: TurnContext): void {
    this.key = keyOf(policy, context, this.application, this.kind.priority);
  }
}

/**
 * A queue during a round: which of its queues, or of its applications, is next. Ordered as
 * `PriorityUtilizationQueueOrderingPolicy` of the capacity scheduler or `FairSharePolicy` and
 * `DominantResourceFairnessPolicy` of the fair scheduler do.
 */
export class QueueTurn {
  readonly queue: Queue;
  readonly parent: QueueTurn | undefined;
  readonly children = new TurnHeap<QueueTurn>(beforeQueue);
  readonly applications = new TurnHeap<Turn>(beforeApplication);
  /** 0 before 1: below what it is guaranteed, or below its minimum. */
  rank = 0;
  key = 0;
  readonly #policy: string;
  readonly #context: TurnContext;
  readonly #guaranteed: readonly [cpu: number, memory: number];

  constructor(queue: Queue, parent: QueueTurn | undefined, context: TurnContext) {
    this.queue = queue;
    this.parent = parent;
    this.#context = context;
    this.#policy = queue.settings.schedulingPolicy ?? (queue.isLeaf ? 'fifo' : 'capacity');
    this.#guaranteed = [sum(queue.guaranteed, 0), sum(queue.guaranteed, 1)];
    this.rekey();
  }

  addApplication(application: Application): void {
    const turn = new ApplicationTurn(application);
    turn.rekey(this.#policy, this.#context);
    this.applications.add(turn);
  }

  addClass(turn: ClassTurn): void {
    turn.rekey(this.#policy, this.#context);
    this.applications.add(turn);
  }

  /** Someone of the first application was placed, or waits on: it finds its new place. */
  settleApplication(): void {
    const { first } = this.applications;
    if (first && !first.next) return this.applications.drop();
    first?.rekey(this.#policy, this.#context);
    this.applications.settle();
  }

  /** What it uses has changed. */
  rekey(): void {
    const { queue } = this;
    const policy = this.parent?.queue.settings.schedulingPolicy ?? 'capacity';
    const cpu = sum(queue.used, 0);
    const memory = sum(queue.used, 1);
    if (policy === 'capacity') {
      this.key = this.#ratio(cpu, memory);
      this.rank = this.key >= 1 ? 1 : 0;
      return;
    }
    const byMemoryOnly = policy === 'fair' || this.#context.byMemoryOnly;
    const [cpuMin, memoryMin] = queue.minimum;
    const needy = memory < memoryMin || (!byMemoryOnly && cpu < cpuMin);
    this.rank = needy ? 0 : 1;
    if (needy) this.key = byMemoryOnly ? over(memory, memoryMin) : Math.max(over(cpu, cpuMin), over(memory, memoryMin));
    else this.key = (byMemoryOnly ? memory : dominant(cpu, memory, this.#context)) / queue.weight;
  }

  /** Used by guaranteed; a queue that is guaranteed nothing comes after all that are. */
  #ratio(cpu: number, memory: number): number {
    const [cpuOwn, memoryOwn] = this.#guaranteed;
    if (memoryOwn === 0 && (cpuOwn === 0 || this.#context.byMemoryOnly)) {
      return guaranteedNothing + dominant(cpu, memory, this.#context);
    }
    const byMemory = over(memory, memoryOwn);
    return this.#context.byMemoryOnly ? byMemory : Math.max(byMemory, over(cpu, cpuOwn));
  }
}

const guaranteedNothing = 1e9;

function beforeQueue(one: QueueTurn, other: QueueTurn): boolean {
  if (one.rank !== other.rank) return one.rank < other.rank;
  const priority = other.queue.settings.priority - one.queue.settings.priority;
  if (priority !== 0) return priority < 0;
  return one.key < other.key || (one.key === other.key && one.queue.index < other.queue.index);
}

function beforeApplication(one: Turn, other: Turn): boolean {
  if (one.key !== other.key) return one.key < other.key;
  const order = one.application.order - other.application.order;
  return order < 0 || (order === 0 && (one.next?.order ?? 0) < (other.next?.order ?? 0));
}

function sum(amounts: Float64Array, dimension: 0 | 1): number {
  let total = 0;
  for (let at = dimension; at < amounts.length; at += 2) total += amounts[at]!;
  return total;
}

function over(used: number, of: number): number {
  return of > 0 ? used / of : used > 0 ? guaranteedNothing : 0;
}

/** The larger of the shares of the cluster. */
function dominant(cpu: number, memory: number, { total, byMemoryOnly }: TurnContext): number {
  const byMemory = total[1] > 0 ? memory / total[1] : 0;
  return byMemoryOnly ? byMemory : Math.max(byMemory, total[0] > 0 ? cpu / total[0] : 0);
}
