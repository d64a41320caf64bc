import { type Activation, type PluginSource, type PluginSpec, type Slot, withinDeadline } from '@cloudos/plugin-bus';
import {
  asCloudosError,
  type Clock,
  CloudosError,
  event,
  type GuestDriver,
  messageOf,
  type SlotName,
  type SwapRequest,
  type SwapResult,
} from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import type { ApiServers } from './api-servers.ts';
import type { KernelJournal } from './kernel-journal.ts';
import type { Fleet } from './node/fleet.ts';
import type { GuestRuntime } from './node/guest-runtime.ts';
import type { NodeAgent } from './node/node-agent.ts';
import { checkRequirements } from './node/requirements.ts';
import type { PolicySeat, PolicySlotName } from './policy/policy-seat.ts';

export interface SwapperOptions {
  readonly plugins: PluginSource;
  readonly journal: KernelJournal;
  readonly seats: Readonly<Record<PolicySlotName, PolicySeat>>;
  readonly fleet: Fleet;
  readonly apis: ApiServers;
  readonly clock: Clock;
}

/** How long a successor may take to describe itself or to adopt one guest. */
const adoptDeadlineMs = 30_000;

interface Change {
  readonly slot: SlotName;
  readonly node?: string;
  readonly from: string;
  readonly to: string;
  readonly generation: number;
}

/**
 * Replaces what fills a slot while everything runs. Until SwapCompleted is in the log any failure leaves the
 * predecessor in charge and records SwapAborted.
 */
export class Swapper {
  readonly #options: SwapperOptions;
  readonly #swapping = new Set<string>();

  constructor(options: SwapperOptions) {
    this.#options = options;
  }

  /** @throws CloudosError SWAP_ABORTED (with the cause), SWAP_IN_PROGRESS, COMMAND_INVALID, or why loading failed */
  async swap(request: SwapRequest): Promise<SwapResult> {
    const { slot, plugin, config, node } = request;
    const spec: PluginSpec = { plugin: await this.#options.plugins.load(plugin), config: config ?? {} };
    if (slot === 'resources' || slot === 'orchestrator') return this.#alone(slot, () => this.#swapPolicy(slot, spec));
    if (slot === 'api') return this.#swapApi(request, spec);
    if (slot !== 'guest' && slot !== 'host') {
      const message = `slot ${slot} cannot be swapped while the stack runs; resources, orchestrator, host, guest and api can`;
      throw new CloudosError('COMMAND_INVALID', message, { remedy: 'Change the stack file and start again.' });
    }
    const { fleet } = this.#options;
    const agents = node === undefined ? [...fleet.agents.values()] : [fleet.agent(node)];
    const swapped: SwapResult[] = [];
    for (const agent of agents) {
      const swap =
        slot === 'host'
          ? () => this.#swapHost(agent.host, spec)
          : () => this.#swapGuest(agent, choose(agent.runtimes, request, spec), spec);
      try {
        swapped.push(await this.#alone(`${slot}@${agent.node}`, swap));
      } catch (error) {
        if (swapped.length === 0) throw error;
        const done = agents.slice(0, swapped.length).map(({ node }) => node);
        const failed = asCloudosError(error, 'SWAP_ABORTED');
        const message = `${failed.message} (on ${done.join(', ')} the swap is complete; on the nodes after ${agent.node} it was not begun)`;
        throw new CloudosError(failed.code, message, { cause: error, details: failed.details });
      }
    }
    const last = swapped.at(-1);
    if (last) return last;
    throw new CloudosError('NODE_NOT_FOUND', 'the stack has no node on which the driver could be swapped');
  }

  async #alone(place: string, swap: () => Promise<SwapResult>): Promise<SwapResult> {
    if (this.#swapping.has(place)) {
      throw new CloudosError('SWAP_IN_PROGRESS', `slot ${place} is being swapped already`);
    }
    this.#swapping.add(place);
    try {
      return await swap();
    } finally {
      this.#swapping.delete(place);
    }
  }

  #swapPolicy(name: PolicySlotName, spec: PluginSpec): Promise<SwapResult> {
    const seat = this.#options.seats[name];
    return this.#carryOut(seat.slot, spec, {
      prepare: () => seat.prepare(spec),
      handOver: (successor) => seat.level(successor),
      discard: (successor) => seat.discard(successor),
    });
  }

  #swapApi({ replaces }: SwapRequest, spec: PluginSpec): Promise<SwapResult> {
    const server = this.#options.apis.choose(spec.plugin.definition.name, replaces);
    return this.#alone(`api ${server.slot.view().plugin}`, () =>
      this.#carryOut(server.slot, spec, {
        prepare: () => server.slot.prepare(spec),
        handOver: async (successor, predecessor) => {
          await server.handOver(successor, predecessor);
          return undefined;
        },
      }),
    );
  }

  #swapGuest(agent: NodeAgent, runtime: GuestRuntime, spec: PluginSpec): Promise<SwapResult> {
    const { clock } = this.#options;
    const inTime = <T>(what: string, work: () => Promise<T>) => withinDeadline(clock, what, adoptDeadlineMs, work);
    return this.#carryOut(runtime.slot, spec, {
      prepare: () => this.#prepared(runtime.slot, spec, (successor) => this.#checkRuntime(agent, runtime, successor)),
      handOver: async ({ provider }, predecessor) => {
        const guests = predecessor ? await inTime('list', () => predecessor.provider.list()) : [];
        for (const { handle, instance, pid } of guests) {
          const adopted = await inTime(`adopt ${instance}`, () => provider.adopt(handle));
          if (adopted.instance === instance && adopted.pid === pid) continue;
          const message = `${spec.plugin.definition.name} adopted ${instance} with pid ${pid} as ${adopted.instance} with pid ${adopted.pid}`;
          throw new CloudosError('GUEST_STATE', message);
        }
        return undefined;
      },
    });
  }

  /** A successor that has been looked at; one that does not pass is closed again. */
  async #prepared<S extends SlotName>(
    slot: Slot<S>,
    spec: PluginSpec,
    check: (successor: Successor<S>) => Promise<void>,
  ): Promise<Successor<S>> {
    const successor = await slot.prepare(spec);
    try {
      await check(successor);
      return successor;
    } catch (error) {
      await slot.discard(successor);
      throw error;
    }
  }

  async #checkRuntime(agent: NodeAgent, runtime: GuestRuntime, successor: Activation<GuestDriver>): Promise<void> {
    const { node } = agent;
    checkRequirements(successor, agent);
    const found = await withinDeadline(this.#options.clock, 'fingerprint', adoptDeadlineMs, () =>
      firstValueFrom(successor.provider.fingerprint()),
    );
    if (!found.available) {
      throw new CloudosError('RUNTIME_UNAVAILABLE', `${node}: ${found.reason}`, { remedy: found.remedy });
    }
    const now = runtime.fingerprint?.runtime;
    if (now === undefined || found.runtime === now) return;
    throw new CloudosError(
      'GUEST_UNSUPPORTED',
      `${node}: guests of runtime ${now} cannot be adopted by a driver of runtime ${found.runtime}`,
      { remedy: 'Add the runtime to the stack file and declare the workloads for it.' },
    );
  }

  #swapHost(slot: Slot<'host'> | undefined, spec: PluginSpec): Promise<SwapResult> {
    if (!slot) throw new CloudosError('SLOT_EMPTY', 'the node has not started yet');
    const describes = async ({ provider }: Successor<'host'>): Promise<void> => {
      await withinDeadline(this.#options.clock, 'inventory', adoptDeadlineMs, () =>
        firstValueFrom(provider.inventory()),
      );
    };
    return this.#carryOut(slot, spec, {
      prepare: () => this.#prepared(slot, spec, describes),
      handOver: async () => undefined,
    });
  }

  async #carryOut<S extends SlotName>(
    slot: Slot<S>,
    spec: PluginSpec,
    steps: Steps<Successor<S>>,
  ): Promise<SwapResult> {
    const { journal, clock } = this.#options;
    const startedAt = clock.now();
    const change: Change = {
      slot: slot.name,
      from: slot.view().plugin,
      to: spec.plugin.definition.name,
      generation: slot.view().generation + 1,
      ...(slot.node !== undefined && { node: slot.node }),
    };
    await journal.record(event('SwapStarted', change));
    let completed = -1;
    try {
      const successor = await steps.prepare();
      try {
        await slot.replace(successor, async (predecessor) => {
          const level = (await steps.handOver(successor, predecessor)) ?? -1;
          const { reference } = spec.plugin;
          completed = await journal.record(
            event('SwapCompleted', { ...change, level, reference, config: spec.config }),
          );
        });
      } finally {
        steps.discard?.(successor);
      }
      return { ...change, generation: slot.view().generation, position: completed, catchUpMs: clock.now() - startedAt };
    } catch (thrown) {
      const error = asCloudosError(thrown, 'PLUGIN_FAILED');
      if (completed >= 0) throw error; // the successor is in charge: its slot restarts it
      await journal.record(event('SwapAborted', { ...change, code: error.code, reason: messageOf(error) }));
      const message = `${change.from} stays in charge of ${slot.label}: ${change.to} failed: ${messageOf(error)}`;
      throw new CloudosError('SWAP_ABORTED', message, { cause: error, details: { code: error.code } });
    }
  }
}

type Successor<S extends SlotName> = Awaited<ReturnType<Slot<S>['prepare']>>;

interface Steps<A> {
  prepare(): Promise<A>;
  /** Moves what is needed. Returns the position the successor is level with, for a policy. */
  handOver(successor: A, predecessor: A | undefined): Promise<number | undefined>;
  discard?(successor: A): void;
}

function choose(runtimes: readonly GuestRuntime[], { replaces }: SwapRequest, { plugin }: PluginSpec): GuestRuntime {
  const named = runtimes.find(({ slot }) => slot.spec.plugin.definition.name === (replaces ?? plugin.definition.name));
  const chosen = named ?? (replaces === undefined && runtimes.length === 1 ? runtimes[0] : undefined);
  if (chosen) return chosen;
  const there = runtimes.map(({ slot }) => slot.spec.plugin.definition.name).join(', ');
  throw new CloudosError('COMMAND_INVALID', `which guest driver shall be replaced? There are ${there}`, {
    remedy: 'Name it with --replaces.',
  });
}
