import { fileURLToPath } from 'node:url';
import { checkConfig, loadPlugin } from '@cloudos/plugin-bus';
import {
  type AnyPlugin,
  type NewEvent,
  newId,
  type Policy,
  type ResourcesCommand,
  Scope,
  type SharedEvent,
  silentLogger,
  systemClock,
} from '@cloudos/sdk';

/** The checkout, five levels above the built file. */
const root = fileURLToPath(new URL('../../../../', import.meta.url));

export type ResourcesPolicy = Policy<unknown, ResourcesCommand>;

/** The policy of a resource manager, found and configured as a kernel does it. */
export async function resourcesPolicy(name: string, config: unknown): Promise<ResourcesPolicy> {
  const { definition } = (await loadPlugin(name, root)) as { definition: AnyPlugin };
  if (definition.slot !== 'resources') throw new Error(`${name} is a plugin of ${definition.slot}, not of resources`);
  const context = {
    scope: new Scope('bench'),
    logger: silentLogger,
    clock: systemClock,
    newId,
    generation: 1,
    dataDir: '/nonexistent',
    stateDir: '/nonexistent',
    fail: (error: unknown) => {
      throw error;
    },
  };
  return (await definition.create(context, checkConfig(definition, config))) as ResourcesPolicy;
}

/** Calls of `react` in a row that may each decide something; past it, a policy does not come to rest. */
const roundsMax = 100_000;

/** A policy over a log that is nothing but a counter: what it costs is the policy's own. */
export class DrivenPolicy {
  readonly #policy: ResourcesPolicy;
  #state: unknown;
  #position = 0;
  #now: number;
  readonly #envelope = { position: 0, stream: '', revision: 0, id: '', type: '', time: 0, data: {} as unknown, meta };
  placed = 0;
  unplaceable = 0;
  preempted = 0;
  /** Where instances were placed; kept only where asked for. */
  readonly where: Map<string, string> | undefined;

  /** @param now epoch milliseconds: the clock of the policy, which stands still unless it asks to be woken */
  constructor(policy: ResourcesPolicy, options: { readonly remember?: boolean; readonly now?: number } = {}) {
    this.#policy = policy;
    this.#state = policy.initial();
    this.#now = options.now ?? 1_700_000_000_000;
    this.where = options.remember ? new Map() : undefined;
  }

  /** The envelope is one for all events: a log hands them over in its own, and no policy keeps them. */
  give(event: NewEvent): void {
    const recorded = this.#envelope;
    recorded.position = this.#position;
    recorded.revision = this.#position;
    recorded.type = event.type;
    recorded.time = this.#now;
    recorded.data = event.data;
    this.#position++;
    this.#state = this.#policy.evolve(this.#state, recorded as unknown as SharedEvent);
  }

  /** Lets the policy decide, and takes its decisions in, until it has nothing more to say. */
  settle(): void {
    for (let round = 0; round < roundsMax; round++) {
      const { events, wakeAt } = this.#policy.react(this.#state, [], this.#now);
      for (const event of events) {
        this.give(event);
        if (event.type === 'InstancePlaced') this.#notePlaced(event.data as { instance: string; node: string });
        else if (event.type === 'InstanceUnplaceable') this.unplaceable++;
        else if (event.type === 'InstancePreempted') this.preempted++;
      }
      if (events.length > 0) continue;
      if (wakeAt === undefined || wakeAt > this.#now) return;
    }
    throw new Error(`the policy does not come to rest in ${roundsMax} rounds`);
  }

  #notePlaced({ instance, node }: { instance: string; node: string }): void {
    this.placed++;
    this.where?.set(instance, node);
  }
}

const meta = { producer: { plugin: 'bench', generation: 1 }, schema: 1 };
