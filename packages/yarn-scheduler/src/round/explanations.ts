import {
  type Cluster,
  explainUnplaceable,
  type InstanceRecord,
  type PendingGroup,
  type Reasons,
  type Shape,
  signatureOf,
} from '@cloudos/placement';
import type { WaitingClass } from '../waiting.ts';
import type { YarnState } from '../yarn-state.ts';
import type { Obstacle } from './activation.ts';
import type { Limits } from './limit-checks.ts';
import type { NodeChoice } from './node-choice.ts';

/** Constraints that queues impose; all others are those of nodes. */
const ofQueues: ReadonlySet<string> = new Set([
  'queue',
  'queue stopped',
  'queue limit',
  'user limit',
  'maximum applications',
  'parallel applications',
  'application master share',
  'label',
  'locality',
]);

/** Why instances wait, in words, during one round. */
export class Explanations {
  readonly #state: YarnState;
  readonly #limits: Limits;
  readonly #nodes: NodeChoice;
  readonly #reasons = new Map<Shape, { readonly partition: number; readonly reasons: Reasons }>();

  constructor(state: YarnState, limits: Limits, nodes: NodeChoice) {
    this.#state = state;
    this.#limits = limits;
    this.#nodes = nodes;
  }

  /** Whether everyone of the group was told what stands in the way at the nodes, and that is so still. */
  knownOfNodes(group: PendingGroup): boolean {
    const { factsChangedAt, company } = this.#state.cluster;
    if (ofQueues.has(group.signature) || !group.toldAll(group.signature)) return false;
    if (factsChangedAt <= group.toldAt) return true;
    // without company the reasons are the same for all who ask for the same
    return company.idle && group.signature === signatureOf(this.#reasonsOfNodes(group));
  }

  /** The same of all groups of a class, or that they were told this obstacle, or what the nodes lack now. */
  knownOfClass(kind: WaitingClass, obstacle?: Obstacle): boolean {
    const { cluster } = this.#state;
    const told = kind.toldAll;
    if (told === undefined) return false;
    if (obstacle) return told === obstacle.constraint;
    if (ofQueues.has(told)) return false;
    if (kind.toldSince(cluster.factsChangedAt)) return true;
    return cluster.company.idle && told === signatureOf(this.#reasonsOfNodes(kind.entries[0]!.groups[0]!));
  }

  /**
   * Records why the group's instances wait, for those that were not told so yet. Reasons that lie with nodes are looked
   * into again when somebody was not told or nodes have changed since.
   */
  *explain(
    group: PendingGroup,
    from: number,
    obstacle: Obstacle | undefined,
  ): Generator<{ readonly record: InstanceRecord; readonly reasons: Reasons }> {
    const { cluster } = this.#state;
    if (!obstacle && this.knownOfNodes(group)) return;
    const reasons = obstacle ? [{ ...obstacle, nodes: nodesIn(cluster) }] : this.#reasonsOfNodes(group);
    const signature = signatureOf(reasons);
    if (group.toldAll(signature)) return;
    const start = signature === group.signature ? Math.max(from, group.toldUntil) : from;
    for (let at = start; at < group.items.length; at++) {
      const record = group.items[at]!;
      if (group.waits(at) && record.told !== signature) yield { record, reasons };
    }
  }

  /** What each node lacks; those of another partition are named as well. Found once for all who ask for the same. */
  #reasonsOfNodes({ shape, items, head }: PendingGroup): Reasons {
    const { cluster, applications } = this.#state;
    const record = items[head]!;
    const { queue } = applications.get(record.workload.name)!;
    const partition = queue ? this.#limits.partitionOf(shape, queue) : 0;
    const shared = !cluster.company.binds(record.kin);
    const known = shared ? this.#reasons.get(shape) : undefined;
    if (known?.partition === partition) return known.reasons;
    const reasons = [...explainUnplaceable(cluster, record), ...this.#elsewhere(partition)].sort(byConstraint);
    if (shared) this.#reasons.set(shape, { partition, reasons });
    return reasons;
  }

  #elsewhere(partition: number): Reasons {
    const { partitions, tree } = this.#state;
    const nodes = this.#nodes.outside(partition);
    if (nodes === 0) return [];
    const label = tree.labels[partition] === '' ? 'no label' : `the label ${tree.labels[partition]}`;
    const message = `${nodes} of ${partitions.count} nodes belong to another label: it asks for nodes with ${label}`;
    return [{ constraint: 'label', nodes, message }];
  }
}

function byConstraint(one: Reasons[number], other: Reasons[number]): number {
  return one.constraint < other.constraint ? -1 : 1;
}

function nodesIn(cluster: Cluster): number {
  return cluster.nodes.facts.reduce((count, { state }) => (state === 'left' ? count : count + 1), 0);
}
