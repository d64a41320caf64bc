import type { Constraint, EventData, ResourceVector, SharedEvent } from '@cloudos/sdk';
import { companyObstacle } from './company-oracle.ts';

interface OracleNode {
  state: 'ready' | 'lost' | 'left';
  cordoned: boolean;
  capacity: ResourceVector;
  attributes: Readonly<Record<string, string>>;
  runtimes: readonly string[];
}

interface OracleInstance {
  readonly request: EventData<'InstanceRequested'>;
  node?: string;
  leaving: boolean;
  /** What it is expected to need at most, where that was told. */
  usage?: ResourceVector;
}

/** What a policy may lend: of what is requested all but the usage and a margin, to those below a priority. */
export interface Lending {
  readonly below: number;
  readonly margin: number;
}

/** Keeps account of the log in the plainest way and throws at the first decision that breaks a promise. */
export class ResourcesOracle {
  readonly nodes = new Map<string, OracleNode>();
  readonly instances = new Map<string, OracleInstance>();
  /** By node, what its instances hold of each resource. */
  readonly #used = new Map<string, Map<string, number>>();
  readonly #lending: Lending | undefined;
  /** Whether any request ever had a rule about company: without one there is nothing to look at. */
  #rules = false;

  /** @param lending absent: nothing may be over-committed */
  constructor(lending?: Lending) {
    this.#lending = lending;
  }

  take(event: SharedEvent): void {
    switch (event.type) {
      case 'NodeJoined': {
        const cordoned = this.nodes.get(event.data.node)?.cordoned ?? false;
        const { capacity, attributes, runtimes } = event.data;
        const names = runtimes.map(({ name }) => name);
        this.nodes.set(event.data.node, { state: 'ready', cordoned, capacity, attributes, runtimes: names });
        break;
      }
      case 'NodeCapacityChanged':
        Object.assign(this.nodes.get(event.data.node)!, {
          capacity: event.data.capacity,
          runtimes: event.data.runtimes.map(({ name }) => name),
        });
        break;
      case 'NodeLost':
      case 'NodeLeft':
        this.#lose(event.data.node, event.type === 'NodeLost' ? 'lost' : 'left');
        break;
      case 'NodeCordoned':
      case 'NodeUncordoned':
        this.nodes.get(event.data.node)!.cordoned = event.type === 'NodeCordoned';
        break;
      case 'NodeDrained':
        if (this.on(event.data.node).length > 0) throw new Error(`${event.data.node} is drained with instances on it`);
        break;
      default:
        this.#takeInstance(event);
    }
  }

  #takeInstance(event: SharedEvent): void {
    switch (event.type) {
      case 'InstanceRequested':
        this.#rules ||= event.data.placement !== undefined;
        this.instances.set(event.data.instance, { request: event.data, leaving: false });
        break;
      case 'InstancePlaced':
        this.#checkPlacement(event.data.instance, event.data.node);
        this.instances.get(event.data.instance)!.node = event.data.node;
        this.#account(this.instances.get(event.data.instance)!, 1);
        break;
      case 'InstancePreempted': {
        const victim = this.instances.get(event.data.instance);
        if (victim?.node !== event.data.node) throw new Error(`${event.data.instance} is preempted where it is not`);
        if (victim.leaving) throw new Error(`${event.data.instance} is preempted though it leaves already`);
        this.#checkPreemption(victim, event.data);
        victim.leaving = true;
        break;
      }
      case 'InstanceUnplaceable':
        if (this.instances.get(event.data.instance)?.node !== undefined || !this.instances.has(event.data.instance)) {
          throw new Error(`${event.data.instance} is called unplaceable though it does not wait`);
        }
        break;
      case 'InstanceWithdrawn': {
        const record = this.instances.get(event.data.instance);
        if (record?.node === undefined) this.instances.delete(event.data.instance);
        else record.leaving = true;
        break;
      }
      case 'GuestUsageEstimated': {
        const record = this.instances.get(event.data.instance);
        if (record?.node === event.data.node) record.usage = event.data.usage;
        break;
      }
      case 'GuestRemoved':
        if (this.instances.get(event.data.instance)?.node === event.data.node) this.#forget(event.data.instance);
        break;
    }
  }

  /** Names of the instances that hold resources of the node. */
  on(node: string): string[] {
    return [...this.instances].filter(([, record]) => record.node === node).map(([name]) => name);
  }

  waiting(): string[] {
    return [...this.instances].filter(([, record]) => record.node === undefined).map(([name]) => name);
  }

  leaving(): { instance: string; node: string }[] {
    return [...this.instances]
      .filter(([, record]) => record.leaving)
      .map(([instance, record]) => ({ instance, node: record.node! }));
  }

  /** What the node has left of each resource. */
  free(node: string): Map<string, number> {
    const left = amountsOf(this.nodes.get(node)!.capacity);
    for (const [name, amount] of this.#used.get(node) ?? []) left.set(name, (left.get(name) ?? 0) - amount);
    return left;
  }

  /** Why the instance cannot go to the node now; undefined when it can. */
  obstacle(instance: string, node: string): string | undefined {
    const { request } = this.instances.get(instance)!;
    const target = this.nodes.get(node);
    if (target?.state !== 'ready') return `${node} is ${target?.state ?? 'unknown'}`;
    if (target.cordoned) return `${node} is cordoned`;
    if (request.node !== undefined && request.node !== node) return `it must be placed on ${request.node}`;
    const runs = request.runtime === undefined ? target.runtimes.length > 0 : target.runtimes.includes(request.runtime);
    if (!runs) return `${node} lacks the runtime ${request.runtime ?? '(any)'}`;
    const unmet = request.constraints?.find((constraint) => !meets(target.attributes, constraint));
    if (unmet) return `${node} does not meet the constraint on ${unmet.attribute}`;
    const taken = request.hostPorts?.find((port) => this.#holds(node, port, instance));
    if (taken !== undefined) return `port ${taken} of ${node} is taken`;
    const company = this.#rules ? this.#company(request, node) : undefined;
    if (company !== undefined) return company;
    const free = this.free(node);
    if (this.#lending && request.priority < this.#lending.below) this.#lend(node, free, this.#lending);
    for (const [name, amount] of amountsOf(request.requests)) {
      const left = free.get(name) ?? 0;
      if (amount > 0 && amount > left) return `${node} has ${left} of ${name}, the request is ${amount}`;
    }
    return undefined;
  }

  #holds(node: string, port: number, instance: string): boolean {
    return this.on(node).some(
      (other) => other !== instance && this.instances.get(other)!.request.hostPorts?.includes(port),
    );
  }

  #company(request: EventData<'InstanceRequested'>, node: string): string | undefined {
    const others = [...this.instances.values()].flatMap((other) =>
      other.node === undefined || other.request === request ? [] : [{ ...other, node: other.node }],
    );
    const eligible = [...this.nodes].filter(
      ([, { state, attributes, runtimes }]) =>
        state === 'ready' &&
        (request.runtime === undefined ? runtimes.length > 0 : runtimes.includes(request.runtime)) &&
        (request.constraints ?? []).every((constraint) => meets(attributes, constraint)),
    );
    return companyObstacle(request, node, {
      others,
      attributes: (name) => this.nodes.get(name)!.attributes,
      eligible: eligible.map(([name]) => name),
    });
  }

  #lend(node: string, free: Map<string, number>, { margin }: Lending): void {
    for (const name of this.on(node)) {
      const { request, usage } = this.instances.get(name)!;
      if (!usage) continue;
      const idleCpu = Math.max(0, Math.floor(request.requests.cpuMillis - usage.cpuMillis * (1 + margin)));
      const idleMemory = Math.max(0, Math.floor(request.requests.memoryBytes - usage.memoryBytes * (1 + margin)));
      free.set('cpu', free.get('cpu')! + idleCpu);
      free.set('memory', free.get('memory')! + idleMemory);
    }
  }

  #forget(instance: string): void {
    const record = this.instances.get(instance);
    if (record?.node !== undefined) this.#account(record, -1);
    this.instances.delete(instance);
  }

  #account({ request, node }: OracleInstance, by: 1 | -1): void {
    const used = this.#used.get(node!) ?? new Map<string, number>();
    this.#used.set(node!, used);
    for (const [name, amount] of amountsOf(request.requests)) used.set(name, (used.get(name) ?? 0) + by * amount);
  }

  #checkPlacement(instance: string, node: string): void {
    const record = this.instances.get(instance);
    if (!record) throw new Error(`${instance} is placed though nobody asks for it`);
    if (record.node !== undefined) throw new Error(`${instance} is placed on ${node}, it is on ${record.node} already`);
    const obstacle = this.obstacle(instance, node);
    if (obstacle !== undefined) throw new Error(`${instance} is placed on ${node}: ${obstacle}`);
  }

  #checkPreemption(victim: OracleInstance, { instance, by }: EventData<'InstancePreempted'>): void {
    if (by === undefined) return;
    const winner = this.instances.get(by);
    if (!winner || winner.node !== undefined)
      throw new Error(`${instance} is preempted for ${by}, which does not wait`);
    if (winner.request.priority <= victim.request.priority) {
      throw new Error(
        `${instance} of priority ${victim.request.priority} is preempted for ${by} of priority ${winner.request.priority}`,
      );
    }
  }

  #lose(node: string, state: 'lost' | 'left'): void {
    for (const name of this.on(node)) this.#forget(name);
    const known = this.nodes.get(node);
    if (known) Object.assign(known, state === 'left' ? { state, cordoned: false } : { state });
  }
}

function amountsOf({ cpuMillis, memoryBytes, diskBytes, pids, custom }: ResourceVector): Map<string, number> {
  return new Map(Object.entries({ cpu: cpuMillis, memory: memoryBytes, disk: diskBytes, pids, ...custom }));
}

function meets(attributes: Readonly<Record<string, string>>, { attribute, operator, values }: Constraint): boolean {
  const given = attributes[attribute];
  if (operator === 'exists' || operator === 'not-exists') return (given !== undefined) === (operator === 'exists');
  if (operator === 'not-in') return given === undefined || !values.includes(given);
  if (given === undefined) return false;
  if (operator === 'in') return values.includes(given);
  return values.every((value) => (operator === 'gt' ? Number(given) > Number(value) : Number(given) < Number(value)));
}
