import type { Application } from '../application.ts';
import type { QueueConfig } from '../config.ts';
import { accountedWidth } from './queue-capacity.ts';

/** What one user has of a queue. */
export interface QueueUser {
  readonly name: string;
  /** By partition and accounted resource. */
  readonly used: Float64Array;
  /** Applications of the user in the queue. */
  applications: number;
}

/** A queue of the hierarchy. Amounts are typed arrays by partition (node label), {@link accountedWidth} numbers each. */
export class Queue {
  readonly path: string;
  /** Last name of the path. */
  readonly name: string;
  readonly parent: Queue | undefined;
  readonly children: Queue[] = [];
  settings: QueueConfig;
  /** Made by a placement rule or a quota, not by the configuration. */
  readonly dynamic: boolean;
  /** Counts queues in the order in which they were made: settles what is equal otherwise. */
  readonly index: number;
  /** STOPPED by the configuration or by the state of the owner; children of a stopped queue are stopped. */
  stopped = false;
  /** What is guaranteed; 0 where nothing is. */
  guaranteed: Float64Array;
  /** What it may have at most; infinite where only the nodes limit it. */
  maximum: Float64Array;
  /** Requests of what is placed and of reservations, those of the queues below it included. */
  used: Float64Array;
  /** By partition: guaranteed and largest share of the whole cluster, 0 to 1. */
  share: Float64Array;
  shareMax: Float64Array;
  /** Weight under fair scheduling. */
  weight = 1;
  /** What it is to have before weights count (fair: `minResources`), in the default partition. */
  minimum: readonly [cpu: number, memory: number] = [0, 0];
  /** Those that were taken, in the order of submission. */
  readonly applications = new Set<Application>();
  /** How many applications have something placed. */
  running = 0;
  readonly users = new Map<string, QueueUser>();

  constructor(parent: Queue | undefined, name: string, settings: QueueConfig, index: number, dynamic: boolean) {
    this.parent = parent;
    this.name = name;
    this.path = parent ? `${parent.path}.${name}` : name;
    this.settings = settings;
    this.index = index;
    this.dynamic = dynamic;
    this.guaranteed = new Float64Array(0);
    this.maximum = new Float64Array(0);
    this.used = new Float64Array(0);
    this.share = new Float64Array(0);
    this.shareMax = new Float64Array(0);
    parent?.children.push(this);
  }

  get isLeaf(): boolean {
    return this.children.length === 0;
  }

  /** Empties the sums and makes room for that many partitions. */
  reset(partitions: number): void {
    for (const name of ['guaranteed', 'maximum', 'used'] as const) {
      this[name] = new Float64Array(partitions * accountedWidth);
    }
    this.share = new Float64Array(partitions);
    this.shareMax = new Float64Array(partitions);
    this.running = 0;
    this.applications.clear();
    this.users.clear();
  }

  user(name: string): QueueUser {
    let user = this.users.get(name);
    if (!user) {
      user = { name, used: new Float64Array(this.used.length), applications: 0 };
      this.users.set(name, user);
    }
    return user;
  }

  /** Adds to what the queue and those above it use. */
  charge(partition: number, cpu: number, memory: number): void {
    const at = partition * accountedWidth;
    for (let queue: Queue | undefined = this; queue; queue = queue.parent) {
      queue.used[at] = queue.used[at]! + cpu;
      queue.used[at + 1] = queue.used[at + 1]! + memory;
    }
  }

  /** The first queue from here upwards whose maximum that much more would exceed. */
  limitedBy(partition: number, cpu: number, memory: number): Queue | undefined {
    const at = partition * accountedWidth;
    for (let queue: Queue | undefined = this; queue; queue = queue.parent) {
      if (cpu > 0 && queue.used[at]! + cpu > queue.maximum[at]!) return queue;
      if (memory > 0 && queue.used[at + 1]! + memory > queue.maximum[at + 1]!) return queue;
    }
    return undefined;
  }
}
