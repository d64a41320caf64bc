import { type Cluster, width } from '@cloudos/placement';
import { accountedWidth } from './queues/queue-capacity.ts';

const none = new Int32Array(0);

/**
 * Which partition (node label) each node belongs to, and what each partition has. Nodes that are lost or have left do
 * not count; cordoned ones do, they come back. Hadoop documentation, "YARN Node Labels".
 */
export class Partitions {
  /** By partition and accounted resource. */
  readonly totals: Float64Array;
  readonly #cluster: Cluster;
  readonly #attribute: string;
  readonly #numbers: ReadonlyMap<string, number>;
  /** By slot of the node: its partition, -1 while it does not count. */
  #of = none;
  /** By slot: what it was counted with. */
  #counted = new Float64Array(0);
  /** By partition: slots of its nodes, made when asked for. */
  readonly #slots: (Int32Array | undefined)[];

  constructor(cluster: Cluster, attribute: string, labels: readonly string[]) {
    this.#cluster = cluster;
    this.#attribute = attribute;
    this.#numbers = new Map(labels.map((label, number) => [label, number]));
    this.totals = new Float64Array(labels.length * accountedWidth);
    this.#slots = labels.map(() => undefined);
    for (let slot = 0; slot < cluster.nodes.count; slot++) this.refresh(slot);
  }

  /** Partition of the node; the default one while it does not count. */
  of(slot: number): number {
    return Math.max(0, this.#of[slot] ?? 0);
  }

  numberOf(label: string): number | undefined {
    return this.#numbers.get(label);
  }

  /** Nodes that count. */
  get count(): number {
    return this.#slots.reduce((sum, _, partition) => sum + this.slots(partition).length, 0);
  }

  /** Slots of the partition's nodes. */
  slots(partition: number): Int32Array {
    let slots = this.#slots[partition];
    if (!slots) {
      const found: number[] = [];
      for (let slot = 0; slot < this.#cluster.nodes.count; slot++) if (this.#of[slot] === partition) found.push(slot);
      slots = Int32Array.from(found);
      this.#slots[partition] = slots;
    }
    return slots;
  }

  /** Takes in what the node is now. @returns whether any total is different */
  refresh(slot: number): boolean {
    this.#grow(slot);
    const { nodes } = this.#cluster;
    const facts = nodes.facts[slot]!;
    const label = facts.attributes[this.#attribute] ?? '';
    const partition = facts.state === 'ready' ? (this.#numbers.get(label) ?? 0) : -1;
    const before = this.#of[slot]!;
    const cpu = partition < 0 ? 0 : nodes.capacity[slot * width]!;
    const memory = partition < 0 ? 0 : nodes.capacity[slot * width + 1]!;
    const counted = slot * accountedWidth;
    if (before === partition && this.#counted[counted] === cpu && this.#counted[counted + 1] === memory) return false;
    this.#count(before, -this.#counted[counted]!, -this.#counted[counted + 1]!);
    this.#count(partition, cpu, memory);
    this.#counted[counted] = cpu;
    this.#counted[counted + 1] = memory;
    this.#of[slot] = partition;
    if (before !== partition) {
      if (before >= 0) this.#slots[before] = undefined;
      if (partition >= 0) this.#slots[partition] = undefined;
    }
    return true;
  }

  #count(partition: number, cpu: number, memory: number): void {
    if (partition < 0) return;
    const at = partition * accountedWidth;
    this.totals[at] = this.totals[at]! + cpu;
    this.totals[at + 1] = this.totals[at + 1]! + memory;
  }

  #grow(slot: number): void {
    if (slot < this.#of.length) return;
    const length = Math.max(64, 2 * (slot + 1));
    const of = new Int32Array(length).fill(-1);
    of.set(this.#of);
    this.#of = of;
    const counted = new Float64Array(length * accountedWidth);
    counted.set(this.#counted);
    this.#counted = counted;
  }
}
