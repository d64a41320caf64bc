import type { InstanceRecord, Shape } from '@cloudos/placement';
import { NodeLookup, scatter } from '../node-lookup.ts';
import type { YarnState } from '../yarn-state.ts';

/** Finds nodes during one round. */
export class NodeChoice {
  readonly #state: YarnState;
  readonly #lookups: Map<Shape, NodeLookup>[];
  /** By partition: whether somebody waits who asked for its label. */
  readonly #expected: boolean[];
  readonly #seed: number;
  #made = 0;
  #last: { shape: Shape; partition: number; lookup: NodeLookup } | undefined;

  constructor(state: YarnState) {
    this.#state = state;
    this.#lookups = state.tree.labels.map(() => new Map());
    this.#expected = state.tree.labels.map(() => false);
    this.#seed = scatter(state.cluster.placements + state.cluster.requested);
  }

  /** Somebody waits who asked for that partition. */
  expect(partition: number, count: number): void {
    if (count > 0) this.#expected[partition] = true;
  }

  /**
   * Slot of the node, -1 when none can take the instance. Requests without a label may use idle nodes of labels that
   * are not exclusive, while nobody waits who asked for those.
   */
  choose(record: InstanceRecord, partition: number): number {
    const { cluster, partitions, tree } = this.#state;
    const { shape } = record;
    if (shape.demand.node !== undefined) {
      const slot = cluster.nodes.slotOf(shape.demand.node);
      return slot >= 0 && this.#reaches(slot, partition) && cluster.nodes.fits(slot, shape) ? slot : -1;
    }
    const slot = this.#lookup(shape, partition).next();
    if (slot >= 0 || partition !== 0) return slot;
    for (let label = 1; label < tree.labels.length; label++) {
      if (tree.exclusive[label] || this.#expected[label] || partitions.slots(label).length === 0) continue;
      const borrowed = this.#lookup(shape, label).next();
      if (borrowed >= 0) return borrowed;
    }
    return -1;
  }

  /** How many nodes requests for that partition cannot use. */
  outside(partition: number): number {
    const { partitions, tree } = this.#state;
    let count = 0;
    for (let label = 0; label < tree.labels.length; label++) {
      const open = label === partition || (partition === 0 && !tree.exclusive[label]);
      if (!open) count += partitions.slots(label).length;
    }
    return count;
  }

  #reaches(slot: number, partition: number): boolean {
    const { partitions, tree } = this.#state;
    const of = partitions.of(slot);
    return of === partition || (partition === 0 && !tree.exclusive[of] && !this.#expected[of]);
  }

  #lookup(shape: Shape, partition: number): NodeLookup {
    const last = this.#last;
    if (last?.shape === shape && last.partition === partition) return last.lookup;
    const known = this.#lookups[partition]!;
    let lookup = known.get(shape);
    if (!lookup) {
      const { cluster, partitions, config } = this.#state;
      const seed = scatter(this.#seed + this.#made++);
      const slots = partitions.slots(partition);
      lookup = new NodeLookup(cluster.nodes, shape, slots, config.nodeOrder, config.candidates, seed);
      known.set(shape, lookup);
    }
    this.#last = { shape, partition, lookup };
    return lookup;
  }
}
