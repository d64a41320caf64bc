import type { Slot, SlotLimits } from '@cloudos/plugin-bus';
import {
  type AppendResult,
  type Clock,
  CloudosError,
  type ClusterView,
  type CommandOptions,
  type CommandResult,
  type DoctorReport,
  delay,
  describeIssues,
  type ExecRequest,
  type ExecSession,
  type ExpectedRevision,
  type Explanation,
  type GuestStats,
  type IdSource,
  type KernelStatus,
  type Logger,
  type LogProvider,
  type LogRequest,
  messageOf,
  type NewEvent,
  type OutputChunk,
  orchestratorCommand,
  type PluginView,
  resourcesCommand,
  type ShadowRequest,
  type ShadowView,
  type SlotCommand,
  type SwapRequest,
  type SwapResult,
} from '@cloudos/sdk';
import type { ApiServers } from './api-servers.ts';
import type { ClusterFeed } from './cluster/cluster-feed.ts';
import { viewOf } from './cluster/cluster-view.ts';
import { doctorChecks } from './doctor.ts';
import { explain } from './explain.ts';
import { assertForeign } from './foreign-events.ts';
import type { Shadows } from './hypothesis/shadows.ts';
import type { IngressFeeder } from './ingress-feeder.ts';
import type { Kernel } from './kernel.ts';
import { type KernelJournal, readHistory } from './kernel-journal.ts';
import type { Fleet } from './node/fleet.ts';
import type { NodeAgent, NodeLimits } from './node/node-agent.ts';
import type { PolicyLimits } from './policy/policy-runner.ts';
import type { PolicySeat, PolicySlotName } from './policy/policy-seat.ts';
import type { SlotFactory } from './slot-factory.ts';
import type { Stack } from './stack/stack.ts';
import type { Swapper } from './swap.ts';
import { kernelVersion } from './version.ts';

/** Bounds that a stack may set differently. */
export interface KernelLimits {
  readonly slots?: Partial<SlotLimits>;
  readonly policies?: Partial<PolicyLimits>;
  readonly nodes?: Partial<NodeLimits>;
}

export interface KernelParts {
  readonly stack: Stack;
  readonly stateDir: string;
  readonly log: LogProvider;
  readonly logSlot: Slot<'log'>;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger: Logger;
  readonly slots: SlotFactory;
  readonly journal: KernelJournal;
  readonly feed: ClusterFeed;
  readonly fleet: Fleet;
  readonly makeAgents: () => { agent: NodeAgent; start: () => Promise<void> }[];
  readonly seats: Readonly<Record<PolicySlotName, PolicySeat>>;
  readonly ingress: IngressFeeder | undefined;
  readonly apis: ApiServers;
  readonly swapper: Swapper;
  readonly shadows: Shadows;
  readonly stopping: AbortController;
}

/** How long taking everything down may last beyond the longest grace of a guest. */
const downMarginMs = 120_000;

/** A stack that runs. */
export class RunningKernel implements Kernel {
  readonly #parts: KernelParts;
  readonly #startedAt: number;
  #stopped: Promise<void> | undefined;

  constructor(parts: KernelParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.now();
  }

  get log(): Kernel['log'] {
    return this.#parts.log;
  }

  async start(opening: readonly NewEvent[], progress: (text: string) => void): Promise<void> {
    const { feed, journal, fleet, seats, ingress, apis, makeAgents } = this.#parts;
    try {
      await feed.catchUp();
      await journal.claim(opening);
      feed.start();
      await fleet.start(makeAgents());
      this.#missNodes();
      progress(nodesInWords(fleet));
      await seats.resources.slot.start();
      await seats.orchestrator.slot.start();
      await ingress?.start();
      await apis.start(this);
      progress('policies are level with the log');
    } catch (error) {
      await this.stop().catch((closing) => this.#parts.logger.warn(messageOf(closing)));
      throw error;
    }
  }

  /** Nodes that the stack file does not name any more are lost: nobody looks after them. */
  #missNodes(): void {
    const { feed, fleet, journal } = this.#parts;
    for (const { node, state } of feed.state.nodes.values()) {
      if (state === 'ready' && !fleet.agents.has(node)) journal.nodeLost(node, 'it is not in the stack file any more');
    }
  }

  status(): KernelStatus {
    const { stack, log, stateDir } = this.#parts;
    return {
      stack: stack.name,
      pid: process.pid,
      version: kernelVersion,
      startedAt: this.#startedAt,
      head: log.head(),
      stateDir,
    };
  }

  async view(at?: number): Promise<ClusterView> {
    const { feed, log, ingress } = this.#parts;
    const head = log.head();
    if (at !== undefined) {
      if (!Number.isInteger(at) || at < 0 || at > head) {
        throw new CloudosError('POSITION_OUT_OF_RANGE', `position ${at} is not in the log, which has 0 to ${head}`);
      }
      return viewOf(await feed.stateAt(at));
    }
    await feed.level(head);
    const view = viewOf(feed.state);
    const services = view.services.map((service) => {
      const address = ingress?.addresses.get(service.spec.service);
      return address ? { ...service, address: { host: address.host, ports: address.ports } } : service;
    });
    return { ...view, services };
  }

  plugins(): readonly PluginView[] {
    const { logSlot, slots, apis } = this.#parts;
    return [logSlot.view(), ...apis.withAddresses(slots.views())];
  }

  policy(slot: PolicySlotName): { plugin: string; config: unknown } {
    const { plugin, config } = this.#parts.seats[slot].slot.spec;
    return { plugin: plugin.definition.name, config };
  }

  async command({ slot, command }: SlotCommand, options: CommandOptions = {}): Promise<CommandResult> {
    const seat = this.#parts.seats[slot];
    const schema = slot === 'orchestrator' ? orchestratorCommand : resourcesCommand;
    const parsed = schema.safeParse(command);
    if (!parsed.success) {
      throw new CloudosError('COMMAND_INVALID', `command for ${slot}: ${describeIssues(parsed.error, command)}`);
    }
    const { id = this.#parts.newId(), traceparent } = options;
    const result = await seat.command(parsed.data, { id, ...(traceparent !== undefined && { traceparent }) });
    if (result.positions) await this.#parts.feed.level(result.positions.last);
    return result;
  }

  async append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult> {
    assertForeign(stream, events);
    return this.#parts.log.append(stream, events, at);
  }

  swap(request: SwapRequest): Promise<SwapResult> {
    return this.#parts.swapper.swap(request);
  }

  shadow(request: ShadowRequest): Promise<ShadowView> {
    return this.#parts.shadows.start(request);
  }

  shadows(): readonly ShadowView[] {
    return this.#parts.shadows.views();
  }

  endShadow(plugin: string): Promise<ShadowView> {
    return this.#parts.shadows.stop(plugin);
  }

  async why(subject: string): Promise<Explanation> {
    const { feed, log } = this.#parts;
    await feed.level(log.head());
    return explain(log, feed.state, subject);
  }

  async doctor(): Promise<DoctorReport> {
    const agents = [...this.#parts.fleet.agents.values()];
    return {
      nodes: await Promise.all(agents.map(async (agent) => ({ node: agent.node, checks: await doctorChecks(agent) }))),
    };
  }

  /** Which container is meant; absent for the first, by whatever name. @throws CloudosError GUEST_NOT_FOUND */
  #container<Request extends { readonly container?: string }>(instance: string, request: Request): Request {
    const { container, ...first } = request;
    if (container === undefined) return request;
    const { template } = this.#parts.feed.state.instances.get(instance) ?? {};
    if (container === template?.container) return first as Request;
    const names = [template?.container, ...(template?.containers ?? []).map(({ name }) => name)];
    if (names.includes(container)) return request;
    const has = names.filter((name) => name !== undefined).join(', ') || 'one without a name';
    throw new CloudosError('GUEST_NOT_FOUND', `${instance} has no container called ${container}; it has ${has}`);
  }

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const { slot } = this.#parts.fleet.agentOf(instance).runtimeOf(instance);
    const asked = this.#container(instance, request);
    return slot.call('exec', (driver) => driver.exec(instance, asked));
  }

  async *logs(instance: string, request: LogRequest): AsyncIterable<OutputChunk> {
    const { slot } = this.#parts.fleet.agentOf(instance).runtimeOf(instance);
    const asked = this.#container(instance, request);
    yield* await slot.call('logs', (driver) => driver.logs(instance, asked));
  }

  async stats(instance: string): Promise<GuestStats> {
    const { slot } = this.#parts.fleet.agentOf(instance).runtimeOf(instance);
    return slot.call('stats', (driver) => driver.stats(instance));
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async down(onProgress: (text: string) => void = () => {}): Promise<void> {
    const { seats, fleet, newId, feed, logger } = this.#parts;
    try {
      const { positions } = await seats.orchestrator.command({ type: 'RemoveAll' }, { id: newId() });
      if (positions) await feed.level(positions.last);
      await this.#gone(onProgress);
    } catch (error) {
      if (this.#stopped) throw error;
      // Without a working orchestrator nobody withdraws the instances: what runs is removed all the same.
      logger.warn(`down: ${messageOf(error)}`);
      onProgress(`${messageOf(error)}; removing what runs all the same`);
    }
    await fleet.purge();
    onProgress('removed what the drivers had made');
    await this.stop();
  }

  /** Waits until no node of this stack has an instance left; gives up when none goes for that long. */
  async #gone(onProgress: (text: string) => void): Promise<void> {
    const { feed, fleet, stopping } = this.#parts;
    const left = () =>
      [...feed.state.instances.values()].filter(
        ({ node }) => node !== undefined && fleet.agents.has(node) && feed.state.nodes.get(node)?.state !== 'lost',
      );
    for (let before = left(); before.length > 0; before = left()) {
      if (stopping.signal.aborted) throw new CloudosError('SLOT_EMPTY', 'the kernel was stopped while it went down');
      onProgress(`${before.length} ${before.length === 1 ? 'instance is' : 'instances are'} being stopped`);
      const graceMs = before.reduce((longest, instance) => Math.max(longest, instance.graceMs), 0);
      const fewer = await this.#within(graceMs + downMarginMs, () => left().length < before.length);
      if (fewer || stopping.signal.aborted) continue;
      const names = before.map(({ instance }) => instance);
      const message = `${names.length} instances are still there after ${graceMs + downMarginMs} ms: ${names.slice(0, 5).join(', ')}`;
      throw new CloudosError('TIMED_OUT', message);
    }
    onProgress('every instance is gone');
  }

  /** Whether the condition comes to hold in time, as events arrive. */
  async #within(limitMs: number, condition: () => boolean): Promise<boolean> {
    const { feed, clock, stopping } = this.#parts;
    const over = new AbortController();
    const end = () => over.abort();
    const subscription = feed.changes.subscribe({ next: () => condition() && end(), complete: end });
    stopping.signal.addEventListener('abort', end, { once: true });
    if (condition()) end();
    await delay(clock, limitMs, over.signal);
    subscription.unsubscribe();
    stopping.signal.removeEventListener('abort', end);
    return condition();
  }

  async #stop(): Promise<void> {
    const { seats, ingress, apis, fleet, feed, journal, log, logSlot, logger, stopping, shadows } = this.#parts;
    const steps: [string, () => Promise<unknown> | undefined][] = [
      ['shadows', () => shadows.stopAll()],
      ['apis', () => apis.stop()],
      ['orchestrator', () => seats.orchestrator.slot.close()],
      ['resources', () => seats.resources.slot.close()],
      ['ingress', () => ingress?.stop()],
      ['nodes', () => fleet.stop()],
      ['cluster snapshot', () => feed.save()],
      ['cluster feed', async () => feed.stop()],
      ['journal', () => journal.flushed()],
      ['history', () => readHistory(log, (error) => logger.warn(`the history of the kernel: ${messageOf(error)}`))],
      ['log', () => logSlot.close()],
    ];
    stopping.abort();
    const failures: unknown[] = [];
    for (const [what, close] of steps) {
      try {
        await close();
      } catch (error) {
        logger.warn(`stopping ${what}: ${messageOf(error)}`);
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'the kernel did not stop cleanly');
  }
}

function nodesInWords(fleet: Fleet): string {
  const agents = [...fleet.agents.values()];
  if (agents.length > 3) return `${agents.length} nodes joined`;
  return agents
    .map(({ node, runtimes }) => {
      const usable = runtimes.filter((runtime) => runtime.usable).map(({ fingerprint }) => fingerprint?.runtime);
      return `node ${node} joined (guests: ${usable.join(', ') || 'none'})`;
    })
    .join(', ');
}
