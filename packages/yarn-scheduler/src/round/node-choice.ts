import type { InstanceRecord, Shape } from '@cloudos/placement';
import type { Application } from '../application.ts';
import { FullestLookup, LeastUsedLookup, type NodeLookup, scatter } from '../node-lookup.ts';
import type { YarnState } from '../yarn-state.ts';
import { preferredNode, wishesOf } from './locality.ts';

/** Finds nodes during one round. */
export class NodeChoice {
  readonly #state: YarnState;
  readonly #now: number;
  readonly #lookups: Map<Shape, NodeLookup>[];
  /** By partition: whether somebody waits who asked for its label. */
  readonly #expected: boolean[];
  readonly #seed: number;
  #made = 0;
  #last: { shape: Shape; partition: number; lookup: NodeLookup } | undefined;
  /** After {@link choose} found none: until when the instance waits for a node that it prefers. */
  waitsUntil: number | undefined;

  constructor(state: YarnState, now: number) {
    this.#state = state;
    this.#now = now;
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
  choose(record: InstanceRecord, application: Application, partition: number): number {
    this.waitsUntil = undefined;
    const { cluster } = this.#state;
    const { shape } = record;
    if (shape.demand.node !== undefined) {
      const slot = cluster.nodes.slotOf(shape.demand.node);
      const will = slot >= 0 && this.#reaches(slot, partition) && cluster.nodes.fits(slot, shape);
      return will && cluster.companyAllows(record, slot) ? slot : -1;
    }
    const picky = cluster.company.binds(record.kin);
    const slot = picky && wishesOf(record).length > 0 ? this.#preferred(record, application, partition) : -1;
    if (slot >= 0 || this.waitsUntil !== undefined) return slot;
    return this.#first(partition, (each) => {
      const lookup = this.#lookup(shape, each);
      return picky ? lookup.among((at) => cluster.companyAllows(record, at)) : lookup.next();
    });
  }

  /** Whether no node has room for it, now and for the rest of the round. False: that is not known without a closer look. */
  hopeless({ shape, kin }: InstanceRecord, partition: number): boolean {
    if (shape.demand.node !== undefined || this.#state.cluster.company.binds(kin)) return false;
    return this.#first(partition, (each) => this.#lookup(shape, each).next()) < 0;
  }

  #preferred(record: InstanceRecord, application: Application, partition: number): number {
    const { slot, waitsUntil } = preferredNode(this.#state, record, application, this.#now, (each) =>
      this.#reaches(each, partition),
    );
    this.waitsUntil = waitsUntil;
    return slot;
  }

  /** Of the partition, else of those that it may borrow from. */
  #first(partition: number, find: (partition: number) => number): number {
    const slot = find(partition);
    if (slot >= 0 || partition !== 0) return slot;
    const { tree, partitions } = this.#state;
    for (let label = 1; label < tree.labels.length; label++) {
      if (tree.exclusive[label] || this.#expected[label] || partitions.slots(label).length === 0) continue;
      const borrowed = find(label);
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
      const scope = {
        nodes: cluster.nodes,
        shape,
        slots: partitions.slots(partition),
        belongs: (slot: number) => partitions.of(slot) === partition,
        candidates: config.candidates,
        seed: scatter(this.#seed + this.#made++),
      };
      lookup = config.nodeOrder === 'fullest' ? new FullestLookup(scope) : new LeastUsedLookup(scope);
      known.set(shape, lookup);
    }
    this.#last = { shape, partition, lookup };
    return lookup;
  }
}
