import type { EventData } from '@cloudos/sdk';
import { seededNumbers } from '../seeded-numbers.ts';
import { guestRemoved, joined, type ResourcesHarness, requested, vector, withdrawn } from './resources-harness.ts';

export interface HistoryOptions {
  /** Whether instances have tags, rules about company and ports of nodes. */
  readonly company?: boolean | undefined;
  /** Whether it is told what guests are expected to need. */
  readonly usage?: boolean | undefined;
}

/** A history of a small cluster by chance: nodes come and go, instances too, commands in between. */
export class RandomHistory {
  readonly #harness: ResourcesHarness;
  readonly #random: (below: number) => number;
  readonly #seed: number;
  readonly #with: HistoryOptions;
  #requests = 0;

  constructor(harness: ResourcesHarness, seed: number, options: HistoryOptions = {}) {
    this.#with = options;
    this.#harness = harness;
    this.#seed = seed;
    this.#random = seededNumbers(seed);
    for (const node of ['n1', 'n2', 'n3']) this.#join(node);
  }

  /** One thing happens. Now and then the policy gets to react only after several. */
  step(): void {
    const { oracle } = this.#harness;
    const placed = [...oracle.instances].filter(([, { node }]) => node !== undefined);
    const dice = this.#random(100);
    if (this.#with.usage && this.#random(8) === 0) this.#estimate(placed.map(([instance]) => instance));
    if (dice < 45) this.#request();
    else if (dice < 60) this.#withdraw();
    else if (dice < 75) this.#remove(oracle.leaving());
    else if (dice < 80) this.#remove(placed.map(([instance, { node }]) => ({ instance, node: node! })));
    else if (dice < 90) this.#command();
    else this.#nodes();
    if (this.#random(4) > 0) this.#harness.settle();
  }

  #join(node: string): void {
    const random = this.#random;
    const capacity = {
      cpuMillis: 1_000 * (1 + random(8)),
      memoryBytes: 1_000_000_000 * (1 + random(16)),
      diskBytes: 10_000_000_000 * random(5),
      pids: 1_000,
      ...(random(2) === 0 ? { custom: { gpu: random(4) } } : {}),
    };
    const attributes = { zone: `z${random(3)}`, generation: String(random(10)) };
    this.#harness.append(joined(node, { capacity, attributes, runtime: random(4) === 0 ? 'hyper' : 'zones' }));
  }

  #request(): void {
    const random = this.#random;
    for (let count = 1 + random(4); count > 0; count--) {
      const requests = vector({
        cpuMillis: 250 * random(9),
        memoryBytes: 500_000_000 * random(9),
        diskBytes: random(3) === 0 ? 5_000_000_000 * random(4) : 0,
        pids: random(2) * 100,
        ...(random(6) === 0 ? { custom: { gpu: 1 + random(2) } } : {}),
      });
      const constraint = [
        { attribute: 'zone', operator: 'in' as const, values: [`z${random(3)}`] },
        { attribute: 'zone', operator: 'not-in' as const, values: ['z0'] },
        { attribute: 'generation', operator: 'gt' as const, values: ['4'] },
      ][random(12)];
      this.#harness.append(
        requested(`i${this.#seed}-${this.#requests++}`, {
          requests,
          workload: `default/w${random(4)}`,
          priority: [10, 100, 150, 300, 950][random(5)]!,
          ...(random(8) === 0 ? { runtime: ['zones', 'hyper'][random(2)]! } : {}),
          ...(constraint ? { constraints: [constraint] } : {}),
          ...(random(15) === 0 ? { node: `n${1 + random(6)}` } : {}),
          ...(this.#with.company ? this.#companyOf() : {}),
        }),
      );
    }
  }

  #companyOf(): Partial<EventData<'InstanceRequested'>> {
    const random = this.#random;
    const scope = ['node', 'zone'][random(2)]!;
    const tags = [['t0'], ['t1'], ['workload:default/w1'], ['t0', 't1']][random(4)]!;
    const wanted = [{ min: 1 }, { max: 0 }, { max: 1 }, { maxSkew: 1 }, { maxSkew: 2, max: 3 }][random(5)]!;
    return {
      ...(random(3) === 0 ? { tags: [['t0'], ['t1'], ['t0', 't1']][random(3)]! } : {}),
      ...(random(5) === 0 ? { placement: [{ scope, tags, required: random(4) > 0, ...wanted }] } : {}),
      ...(random(8) === 0 ? { hostPorts: [80 + random(3)] } : {}),
    };
  }

  #estimate(placed: readonly string[]): void {
    const instance = placed[this.#random(Math.max(1, placed.length))];
    const record = instance === undefined ? undefined : this.#harness.oracle.instances.get(instance);
    if (record?.node === undefined) return;
    const { cpuMillis, memoryBytes } = record.request.requests;
    const share = this.#random(12) / 10;
    const usage = vector({ cpuMillis: Math.round(cpuMillis * share), memoryBytes: Math.round(memoryBytes * share) });
    const data = { instance: record.request.instance, node: record.node, usage };
    this.#harness.append({ type: 'GuestUsageEstimated', data });
  }

  #withdraw(): void {
    const names = [...this.#harness.oracle.instances].filter(([, { leaving }]) => !leaving).map(([name]) => name);
    if (names.length > 0) this.#harness.append(withdrawn(names[this.#random(names.length)]!));
  }

  #remove(guests: readonly { instance: string; node: string }[]): void {
    const guest = guests[this.#random(Math.max(1, guests.length))];
    if (guest) this.#harness.append(guestRemoved(guest.instance, guest.node));
  }

  #command(): void {
    const type = (['CordonNode', 'UncordonNode', 'UncordonNode', 'DrainNode'] as const)[this.#random(4)]!;
    this.#harness.command({ type, node: `n${1 + this.#random(6)}`, reason: 'chance' });
  }

  #nodes(): void {
    const node = `n${1 + this.#random(6)}`;
    const known = this.#harness.oracle.nodes.get(node);
    const dice = this.#random(4);
    if (known?.state !== 'ready') return this.#join(node);
    if (dice === 0) this.#harness.append({ type: 'NodeLost', data: { node, reason: 'chance' } });
    else if (dice === 1) this.#harness.append({ type: 'NodeLeft', data: { node, reason: 'chance' } });
    else {
      const capacity = vector({ ...known.capacity, cpuMillis: 1_000 * (1 + this.#random(8)) });
      const runtimes = known.runtimes.map((name) => ({ name, version: '1', features: {} }));
      this.#harness.append({ type: 'NodeCapacityChanged', data: { node, capacity, runtimes } });
    }
  }
}

/** Lets everyone who leaves be gone, until nobody leaves any more. */
export function comeToRest(harness: ResourcesHarness): void {
  harness.settle();
  for (let round = 0; round < 200; round++) {
    const [first] = harness.oracle.leaving();
    if (!first) return;
    harness.give(guestRemoved(first.instance, first.node));
  }
  throw new Error('instances keep leaving: the policy preempts without end');
}
