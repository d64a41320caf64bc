import { ownerDefault, type PlacementMeasures, type ResourceVector, type SharedEvent } from '@cloudos/sdk';
import { WaitHistogram } from './wait-histogram.ts';

interface LedgerNode {
  cpu: number;
  memory: number;
  usedCpu: number;
  usedMemory: number;
  state: 'ready' | 'lost' | 'left';
  readonly instances: Set<string>;
}

export interface LedgerInstance {
  readonly cpu: number;
  readonly memory: number;
  readonly owner: string;
  readonly requestedAt: number;
  node: string | undefined;
}

/** What owners had and wanted, summed over time. */
interface OwnerAccount {
  had: number;
  wanted: number;
  hasNow: number;
  wantsNow: number;
}

/**
 * An account of placements, real or hypothetical, from shared events alone: who is where, and the measures by which
 * two resource managers are compared. Takes as much memory as there are nodes, live instances and owners.
 */
export class PlacementLedger {
  readonly nodes = new Map<string, LedgerNode>();
  readonly instances = new Map<string, LedgerInstance>();
  readonly #waits = new WaitHistogram();
  readonly #owners = new Map<string, OwnerAccount>();
  #placements = 0;
  #preemptions = 0;
  /** Of nodes that are ready. */
  #capacity = { cpu: 0, memory: 0 };
  #used = { cpu: 0, memory: 0 };
  #time = 0;
  #elapsed = 0;
  readonly #integral = { cpu: 0, memory: 0 };
  #peak = 0;

  /** @param from counting begins then; what was before is only taken in */
  constructor(readonly from = 0) {}

  take(event: SharedEvent): void {
    this.passTo(event.time);
    const counts = event.time >= this.from;
    switch (event.type) {
      case 'NodeJoined':
      case 'NodeCapacityChanged':
        return this.#describe(event.data.node, event.data.capacity);
      case 'NodeLost':
      case 'NodeLeft':
        return this.#lose(event.data.node, event.type === 'NodeLost' ? 'lost' : 'left');
      case 'InstanceRequested':
        return this.#request(event.data.instance, event.data.requests, event.data.owner ?? ownerDefault, event.time);
      case 'InstancePlaced':
        return this.#place(event.data.instance, event.data.node, event.time, counts);
      case 'InstancePreempted':
        if (counts) this.#preemptions++;
        return;
      case 'InstanceWithdrawn':
        if (this.instances.get(event.data.instance)?.node === undefined) this.#forget(event.data.instance);
        return;
      case 'GuestRemoved':
        if (this.instances.get(event.data.instance)?.node === event.data.node) this.#forget(event.data.instance);
    }
  }

  /** Time goes by: what is in use counts for as long as it is. */
  passTo(time: number): void {
    const since = Math.max(this.#time, this.from);
    this.#time = Math.max(this.#time, time);
    const seconds = (this.#time - since) / 1_000;
    if (seconds <= 0 || this.#time <= this.from) return;
    this.#elapsed += seconds;
    this.#integral.cpu += share(this.#used.cpu, this.#capacity.cpu) * seconds;
    this.#integral.memory += share(this.#used.memory, this.#capacity.memory) * seconds;
    for (const account of this.#owners.values()) {
      account.had += account.hasNow * seconds;
      account.wanted += account.wantsNow * seconds;
    }
  }

  get measures(): PlacementMeasures {
    const ready = [...this.nodes.values()].filter(({ state }) => state === 'ready');
    const placed = [...this.instances.values()].filter(({ node }) => node !== undefined).length;
    const utilisation = {
      cpu: share(this.#used.cpu, this.#capacity.cpu),
      memory: share(this.#used.memory, this.#capacity.memory),
    };
    const elapsed = this.#elapsed;
    return {
      nodes: ready.length,
      nodesInUse: ready.filter(({ instances }) => instances.size > 0).length,
      placed,
      pending: this.instances.size - placed,
      placements: this.#placements,
      preemptions: this.#preemptions,
      utilisation,
      utilisationMean:
        elapsed === 0 ? utilisation : { cpu: this.#integral.cpu / elapsed, memory: this.#integral.memory / elapsed },
      utilisationPeak: this.#peak,
      fragmentation: this.#fragmentation(ready),
      waitMs: { p50: this.#waits.quantile(0.5), p99: this.#waits.quantile(0.99), max: this.#waits.max },
      fairness: this.#fairness(),
    };
  }

  /**
   * How much of what is free is of no use for an instance of the mean size, because it lies scattered: 0 where as many
   * fit as if all that is free were on one node, 1 where none does.
   */
  #fragmentation(nodes: readonly LedgerNode[]): number {
    let [cpu, memory] = [0, 0];
    for (const instance of this.instances.values()) {
      cpu += instance.cpu;
      memory += instance.memory;
    }
    if (this.instances.size === 0) return 0;
    cpu /= this.instances.size;
    memory /= this.instances.size;
    const fit = (freeCpu: number, freeMemory: number) =>
      Math.floor(Math.min(cpu > 0 ? freeCpu / cpu : Infinity, memory > 0 ? freeMemory / memory : Infinity));
    let scattered = 0;
    let [freeCpu, freeMemory] = [0, 0];
    for (const node of nodes) {
      const free = [Math.max(0, node.cpu - node.usedCpu), Math.max(0, node.memory - node.usedMemory)] as const;
      scattered += fit(...free);
      freeCpu += free[0];
      freeMemory += free[1];
    }
    const together = fit(freeCpu, freeMemory);
    return Number.isFinite(together) && together > 0 ? Math.max(0, 1 - scattered / together) : 0;
  }

  /** Jain's index over owners, of what each had in what it wanted: 1 where all were served alike. */
  #fairness(): number {
    const served = [...this.#owners.values()].filter(({ wanted }) => wanted > 0).map(({ had, wanted }) => had / wanted);
    const sum = served.reduce((total, each) => total + each, 0);
    const squares = served.reduce((total, each) => total + each * each, 0);
    return squares > 0 ? (sum * sum) / (served.length * squares) : 1;
  }

  #describe(name: string, capacity: ResourceVector): void {
    let node = this.nodes.get(name);
    if (!node) {
      node = { cpu: 0, memory: 0, usedCpu: 0, usedMemory: 0, state: 'left', instances: new Set() };
      this.nodes.set(name, node);
    }
    this.#countNode(node, -1);
    Object.assign(node, { cpu: capacity.cpuMillis, memory: capacity.memoryBytes, state: 'ready' });
    this.#countNode(node, 1);
  }

  #countNode(node: LedgerNode, by: 1 | -1): void {
    if (node.state !== 'ready') return;
    this.#capacity.cpu += by * node.cpu;
    this.#capacity.memory += by * node.memory;
  }

  #lose(name: string, state: 'lost' | 'left'): void {
    const node = this.nodes.get(name);
    if (!node) return;
    for (const instance of [...node.instances]) this.#forget(instance);
    this.#countNode(node, -1);
    node.state = state;
  }

  #request(name: string, requests: ResourceVector, owner: string, time: number): void {
    if (this.instances.has(name)) return;
    const { cpuMillis: cpu, memoryBytes: memory } = requests;
    this.instances.set(name, { cpu, memory, owner, requestedAt: time, node: undefined });
    this.#account(owner).wantsNow += this.#dominant(cpu, memory);
  }

  #place(name: string, nodeName: string, time: number, counts: boolean): void {
    const instance = this.instances.get(name);
    const node = this.nodes.get(nodeName);
    if (!instance || node?.state !== 'ready') return;
    if (instance.node !== undefined) this.#unplace(name, instance);
    instance.node = nodeName;
    node.instances.add(name);
    this.#use(node, instance, 1);
    if (!counts) return;
    this.#placements++;
    this.#waits.add(Math.max(0, time - instance.requestedAt));
  }

  #use(node: LedgerNode, { cpu, memory, owner }: LedgerInstance, by: 1 | -1): void {
    node.usedCpu += by * cpu;
    node.usedMemory += by * memory;
    this.#used.cpu += by * cpu;
    this.#used.memory += by * memory;
    this.#account(owner).hasNow += by * this.#dominant(cpu, memory);
    this.#peak = Math.max(this.#peak, share(this.#used.cpu, this.#capacity.cpu));
  }

  #unplace(name: string, instance: LedgerInstance): void {
    const node = instance.node === undefined ? undefined : this.nodes.get(instance.node);
    instance.node = undefined;
    if (!node?.instances.delete(name)) return;
    this.#use(node, instance, -1);
  }

  #forget(name: string): void {
    const instance = this.instances.get(name);
    if (!instance) return;
    this.#unplace(name, instance);
    this.instances.delete(name);
    const account = this.#account(instance.owner);
    account.wantsNow -= this.#dominant(instance.cpu, instance.memory);
  }

  #account(owner: string): OwnerAccount {
    let account = this.#owners.get(owner);
    if (!account) {
      account = { had: 0, wanted: 0, hasNow: 0, wantsNow: 0 };
      this.#owners.set(owner, account);
    }
    return account;
  }

  /** One core weighs as much as 4 GiB: what an owner has does not depend on how large the cluster is just then. */
  #dominant(cpu: number, memory: number): number {
    return Math.max(cpu / 1_000, memory / 2 ** 32);
  }
}

function share(used: number, capacity: number): number {
  return capacity > 0 ? used / capacity : 0;
}
