import {
  type EventData,
  isRefusal,
  type NewEvent,
  type PluginDefinition,
  type Policy,
  type RecordedEvent,
  type Refusal,
  type ResourcesCommand,
  type ResourceVector,
  type SharedEvent,
} from '@cloudos/sdk';
import { pluginContext } from '../plugin-context.ts';
import { recordedAt } from '../recorded.ts';
import { type Lending, ResourcesOracle } from './resources-oracle.ts';

/** Calls of `react` in a row that may each decide something; past it, a policy does not come to rest. */
const roundsMax = 1_000;

type ResourcesPolicy = Policy<unknown, ResourcesCommand>;

/** A log in memory, the policy under test over it, and an oracle that checks every decision against the log. */
export class ResourcesHarness {
  readonly log: RecordedEvent[] = [];
  readonly oracle: ResourcesOracle;
  readonly #policy: ResourcesPolicy;
  #state: unknown;
  /** Epoch milliseconds. */
  now = 1_700_000_000_000;

  constructor(policy: ResourcesPolicy, lending?: Lending) {
    this.oracle = new ResourcesOracle(lending);
    this.#policy = policy;
    this.#state = policy.initial();
  }

  get policy(): ResourcesPolicy {
    return this.#policy;
  }

  get state(): unknown {
    return this.#state;
  }

  /** Goes on with another state, as after a restart. */
  resume(state: unknown): void {
    this.#state = state;
  }

  /** Appends events of others, without letting the policy react. */
  append(...events: NewEvent[]): void {
    for (const event of events) this.#record(event, streamOf(event));
  }

  /** Appends events of others and lets the policy react until it rests. Returns what it decided. */
  give(...events: NewEvent[]): NewEvent[] {
    this.append(...events);
    return this.settle();
  }

  /** Lets the policy react until it decides nothing more. */
  settle(): NewEvent[] {
    const decided: NewEvent[] = [];
    for (let round = 0; round < roundsMax; round++) {
      const { events, wakeAt } = this.#policy.react(this.#state, [], this.now);
      for (const event of events) this.#record(event, 'resources');
      decided.push(...events);
      if (events.length === 0 && (wakeAt === undefined || wakeAt > this.now)) return decided;
    }
    throw new Error(`the policy does not come to rest: it still decides after ${roundsMax} calls of react`);
  }

  /** Sends a command, records what it decides and lets the policy react. */
  command(command: ResourcesCommand): { decided: NewEvent[]; refused: Refusal['refused'] | undefined } {
    const answer = this.#policy.decide(this.#state, command, this.now);
    if (isRefusal(answer)) return { decided: [], refused: answer.refused };
    for (const event of answer.events) this.#record(event, 'resources');
    return { decided: [...answer.events, ...this.settle()], refused: undefined };
  }

  /** A state made from the whole log so far by another policy object. */
  replay(policy: ResourcesPolicy, upTo = this.log.length): unknown {
    let state = policy.initial();
    for (const event of this.log.slice(0, upTo)) state = policy.evolve(state, event as SharedEvent);
    return state;
  }

  #record(event: NewEvent, stream: string): void {
    const recorded = recordedAt(this.log.length, event, stream, this.now);
    this.log.push(recorded);
    this.oracle.take(recorded as SharedEvent);
    this.#state = this.#policy.evolve(this.#state, recorded as SharedEvent);
  }
}

function streamOf({ type, data }: NewEvent): string {
  if (/^(Instance|Workload)/.test(type)) return 'orchestrator';
  return type === 'NodeLost' ? 'kernel' : `node-${(data as { node?: string }).node ?? ''}`;
}

/** The policy of a plugin, made as a kernel makes it. */
export async function resourcesPolicy<Config>(
  plugin: PluginDefinition<'resources', Config>,
  config: unknown,
): Promise<ResourcesPolicy> {
  const context = await pluginContext();
  const policy = await plugin.create(context, plugin.config.parse(config ?? {}));
  await context.scope.close();
  return policy;
}

export function vector(some: Partial<ResourceVector> = {}): ResourceVector {
  return { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0, ...some };
}

const large = { cpuMillis: 4_000, memoryBytes: 8_000_000_000, diskBytes: 100_000_000_000, pids: 10_000 };

/** A node that joins: 4 cores, 8 GB, 100 GB of disk, 10,000 pids and the runtime `zones` unless said otherwise. */
export function joined(
  node: string,
  some: Partial<EventData<'NodeJoined'>> & { runtime?: string | null } = {},
): NewEvent {
  const { runtime = 'zones', capacity, ...rest } = some;
  const runtimes = runtime === null ? [] : [{ name: runtime, version: '1', features: {} }];
  return { type: 'NodeJoined', data: { node, attributes: {}, runtimes, ...rest, capacity: { ...large, ...capacity } } };
}

/** A request for 1 core and 1 GB at priority 100 unless said otherwise. */
export function requested(instance: string, some: Partial<EventData<'InstanceRequested'>> = {}): NewEvent {
  const requests = vector({ cpuMillis: 1_000, memoryBytes: 1_000_000_000, ...some.requests });
  const data = { instance, workload: 'default/web', revision: 1, priority: 100, ...some, requests };
  return { type: 'InstanceRequested', data };
}

export function withdrawn(instance: string): NewEvent {
  return { type: 'InstanceWithdrawn', data: { instance, reason: 'not wanted', drainMs: 0, graceMs: 1_000 } };
}

export function guestRemoved(instance: string, node: string): NewEvent {
  return { type: 'GuestRemoved', data: { instance, node } };
}

/** Where the decisions put each instance. */
export function placements(decided: readonly NewEvent[]): Record<string, string> {
  const placed = decided.filter(({ type }) => type === 'InstancePlaced');
  return Object.fromEntries(
    placed.map(({ data }) => {
      const { instance, node } = data as EventData<'InstancePlaced'>;
      return [instance, node];
    }),
  );
}

/** The data of the events of that type. */
export function of<
  Type extends
    | 'InstancePlaced'
    | 'InstanceUnplaceable'
    | 'InstancePreempted'
    | 'NodeDrained'
    | 'NodeCordoned'
    | 'NodeUncordoned',
>(type: Type, decided: readonly NewEvent[]): EventData<Type>[] {
  return decided.filter((event) => event.type === type).map(({ data }) => data as EventData<Type>);
}
