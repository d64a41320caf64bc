import { CloudosError, type EventData } from '@cloudos/sdk';
import { type QueueConfig, queueConfig, type YarnConfig } from '../config.ts';
import { Queue } from './queue.ts';
import { parseCapacity } from './queue-capacity.ts';
import { shareOut } from './queue-shares.ts';

export type Quota = EventData<'QuotaSet'>;

/** What owners were given by shared events, on top of the configuration. */
export interface OwnerFacts {
  readonly quotas: ReadonlyMap<string, Quota>;
  readonly stopped: ReadonlySet<string>;
}

/**
 * The hierarchy of queues, made from the configuration, and from what placement rules and quotas add to it.
 * Hadoop documentation, "Capacity Scheduler", Setting up queues.
 */
export class QueueTree {
  readonly root: Queue;
  /** Labels by number; 0 is the default partition, without a name. */
  readonly labels: readonly string[];
  readonly exclusive: readonly boolean[];
  readonly #byPath = new Map<string, Queue>();
  readonly #config: YarnConfig;
  #made = 0;
  #dynamic = 0;

  /** @throws CloudosError PLUGIN_CONFIG_INVALID */
  constructor(config: YarnConfig) {
    this.#config = config;
    const { labels } = config.nodeLabels;
    this.labels = ['', ...labels.map(({ name }) => name)];
    this.exclusive = [true, ...labels.map(({ exclusive }) => exclusive)];
    const said = new Map<string, QueueConfig>();
    for (const settings of config.queues) {
      if (said.has(settings.path)) throw invalid(`queue ${settings.path} is given twice`);
      said.set(settings.path, settings);
    }
    this.root = this.#add(undefined, 'root', { ...(said.get('root') ?? implied('root')), capacity: '100%' }, false);
    const listed = config.queues.length > 0 ? [...said.keys()] : ['root.default'];
    for (const path of listed) this.#ensure(path, said);
    checkTree(this);
  }

  get queues(): Iterable<Queue> {
    return this.#byPath.values();
  }

  get(path: string): Queue | undefined {
    return this.#byPath.get(path);
  }

  /** The queue of that path, made where it is not there; undefined where it cannot be made. */
  make(path: string): Queue | undefined {
    const known = this.#byPath.get(path);
    if (known) return known;
    const names = path.split('.');
    const missing = names.filter((_, at) => !this.#byPath.has(names.slice(0, at + 1).join('.'))).length;
    if (this.#dynamic + missing > this.#config.dynamicQueuesMax) return undefined;
    const above = this.#byPath.get(names.slice(0, names.length - missing).join('.'));
    // a queue that applications may be in stays a queue without children
    if (!above || (above.isLeaf && above !== this.root && !above.dynamic && missing > 0)) return undefined;
    if (above.applications.size > 0) return undefined;
    this.#dynamic += missing;
    let queue = above;
    for (const name of names.slice(names.length - missing)) {
      queue = this.#add(queue, name, implied(`${queue.path}.${name}`, siblingsAreShares(queue)), true);
      queue.reset(this.labels.length);
    }
    return queue;
  }

  /** Works out what every queue is guaranteed and may have at most. @param totals by partition and resource */
  recompute(totals: Float64Array, owners: OwnerFacts): void {
    shareOut(this.root, totals, this.labels, owners);
    for (const queue of this.#byPath.values()) {
      queue.stopped =
        queue.settings.state === 'STOPPED' ||
        queue.parent?.stopped === true ||
        owners.stopped.has(ownerOf(queue.path) ?? '');
    }
  }

  #ensure(path: string, said: ReadonlyMap<string, QueueConfig>): Queue {
    const known = this.#byPath.get(path);
    if (known) return known;
    const cut = path.lastIndexOf('.');
    const parent = this.#ensure(path.slice(0, cut), said);
    return this.#add(parent, path.slice(cut + 1), said.get(path) ?? implied(path), false);
  }

  #add(parent: Queue | undefined, name: string, settings: QueueConfig, dynamic: boolean): Queue {
    const queue = new Queue(parent, name, settings, this.#made++, dynamic);
    this.#byPath.set(queue.path, queue);
    return queue;
  }
}

/** `root.eng.web` stands for the owner `eng/web`; the root for nobody. */
export function ownerOf(path: string): string | undefined {
  return path === 'root' ? undefined : path.slice('root.'.length).replaceAll('.', '/');
}

/** The queue that stands for an owner; a dot within a name, which would part it, becomes an underscore. */
export function pathOf(owner: string): string {
  return `root.${owner.replaceAll('.', '_').replaceAll('/', '.')}`;
}

/** A queue that nobody configured: a peer among weights, guaranteed nothing among shares, all of it for any user. */
function implied(path: string, amongShares = false): QueueConfig {
  return queueConfig.parse({ path, capacity: amongShares ? '0%' : '1w', userLimitFactor: -1 });
}

function siblingsAreShares(parent: Queue): boolean {
  const [first] = parent.children;
  return first !== undefined && parseCapacity(first.settings.capacity, first.path).kind !== 'weight';
}

function invalid(message: string): CloudosError {
  return new CloudosError('PLUGIN_CONFIG_INVALID', message);
}

/** Children of one queue are given one kind of capacity; shares add up to 100 %, or are all 0. */
function checkTree(tree: QueueTree): void {
  const labels = new Set(tree.labels);
  for (const queue of tree.queues) {
    for (const label of [...Object.keys(queue.settings.labels), queue.settings.defaultNodeLabel ?? '']) {
      if (!labels.has(label)) throw invalid(`${queue.path}: label ${label} is not among nodeLabels.labels`);
    }
    if (queue.isLeaf && queue.settings.schedulingPolicy === 'capacity') {
      throw invalid(`${queue.path}: capacity orders queues; a queue without children takes fifo, fair or drf`);
    }
    if (!queue.isLeaf && queue.settings.schedulingPolicy === 'fifo') {
      throw invalid(`${queue.path}: fifo orders applications; a queue with children takes capacity, fair or drf`);
    }
    parseCapacity(queue.settings.maximumCapacity, `${queue.path}: maximumCapacity`);
    checkChildren(queue);
  }
}

function checkChildren({ path, children }: Queue): void {
  const capacities = children.map((child) => parseCapacity(child.settings.capacity, child.path));
  if (new Set(capacities.map(({ kind }) => kind)).size > 1) {
    throw invalid(`${path}: its queues have shares, weights or absolute amounts, not several of them`);
  }
  const shares = capacities.map((capacity) => (capacity.kind === 'share' ? capacity.share : 0));
  const sum = shares.reduce((total, share) => total + share, 0);
  if (sum > 0 && Math.abs(sum - 1) > 1e-6) {
    throw invalid(`${path}: the shares of its queues add up to ${Math.round(sum * 1e4) / 100} %, expected 100 %`);
  }
}
