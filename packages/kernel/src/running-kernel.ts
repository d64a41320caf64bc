import type { Slot, SlotLimits } from '@cloudos/plugin-bus';
import {
  type Clock,
  CloudosError,
  type ClusterView,
  type CommandResult,
  type DoctorReport,
  delay,
  describeIssues,
  type ExecRequest,
  type ExecSession,
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
  type SwapRequest,
  type SwapResult,
} from '@cloudos/sdk';
import type { ClusterFeed } from './cluster/cluster-feed.ts';
import { viewOf } from './cluster/cluster-view.ts';
import { doctorChecks } from './doctor.ts';
import { explain } from './explain.ts';
import type { IngressFeeder } from './ingress-feeder.ts';
import type { CommandOptions, Kernel, SlotCommand } from './kernel.ts';
import type { KernelJournal } from './kernel-journal.ts';
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
  readonly swapper: Swapper;
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

  async start(assembled: NewEvent, progress: (text: string) => void): Promise<void> {
    const { feed, journal, fleet, seats, ingress, makeAgents } = this.#parts;
    try {
      await feed.catchUp();
      await journal.claim([assembled]);
      feed.start();
      await fleet.start(makeAgents());
      progress(nodesInWords(fleet));
      await seats.resources.slot.start();
      await seats.orchestrator.slot.start();
      await ingress?.start();
      progress('policies are level with the log');
    } catch (error) {
      await this.stop().catch((closing) => this.#parts.logger.warn(messageOf(closing)));
      throw error;
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
    return [this.#parts.logSlot.view(), ...this.#parts.slots.views()];
  }

  async command({ slot, command }: SlotCommand, options: CommandOptions = {}): Promise<CommandResult> {
    const seat = this.#parts.seats[slot];
    const schema = slot === 'orchestrator' ? orchestratorCommand : resourcesCommand;
    const parsed = schema.safeParse(command);
    if (!parsed.success) {
      throw new CloudosError('COMMAND_INVALID', `command for ${slot}: ${describeIssues(parsed.error, command)}`);
    }
    const result = await seat.command(parsed.data, options.id ?? this.#parts.newId());
    if (result.positions) await this.#parts.feed.level(result.positions.last);
    return result;
  }

  swap(request: SwapRequest): Promise<SwapResult> {
    return this.#parts.swapper.swap(request);
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

  async exec(instance: string, request: ExecRequest): Promise<ExecSession> {
    const { slot } = this.#parts.fleet.agentOf(instance).runtimeOf(instance);
    return slot.call('exec', (driver) => driver.exec(instance, request));
  }

  async *logs(instance: string, request: LogRequest): AsyncIterable<OutputChunk> {
    const { slot } = this.#parts.fleet.agentOf(instance).runtimeOf(instance);
    yield* await slot.call('logs', (driver) => driver.logs(instance, request));
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
    const { seats, fleet } = this.#parts;
    const { positions } = await seats.orchestrator.command({ type: 'RemoveAll' }, this.#parts.newId());
    if (positions) await this.#parts.feed.level(positions.last);
    await this.#gone(onProgress);
    await fleet.purge();
    onProgress('removed what the drivers had made');
    await this.stop();
  }

  /** Waits until no node of this stack has an instance left. */
  async #gone(onProgress: (text: string) => void): Promise<void> {
    const { feed, fleet, clock } = this.#parts;
    const left = () =>
      [...feed.state.instances.values()].filter(
        ({ node }) => node !== undefined && fleet.agents.has(node) && feed.state.nodes.get(node)?.state !== 'lost',
      );
    const graceMs = left().reduce((longest, { graceMs }) => Math.max(longest, graceMs), 0);
    const deadline = new AbortController();
    let told = -1;
    await new Promise<void>((resolve, reject) => {
      const check = () => {
        const count = left().length;
        if (count !== told)
          onProgress(
            count === 0
              ? 'every instance is gone'
              : `${count} ${count === 1 ? 'instance is' : 'instances are'} being stopped`,
          );
        told = count;
        if (count > 0) return;
        deadline.abort();
        subscription.unsubscribe();
        resolve();
      };
      const subscription = feed.changes.subscribe(check);
      check();
      void delay(clock, graceMs + downMarginMs, deadline.signal).then(() => {
        if (deadline.signal.aborted) return;
        subscription.unsubscribe();
        const names = left().map(({ instance }) => instance);
        const message = `${names.length} instances are still there after ${graceMs + downMarginMs} ms: ${names.slice(0, 5).join(', ')}`;
        reject(new CloudosError('TIMED_OUT', message));
      });
    });
  }

  async #stop(): Promise<void> {
    const { seats, ingress, fleet, feed, journal, logSlot, logger, stopping } = this.#parts;
    const steps: [string, () => Promise<unknown> | undefined][] = [
      ['orchestrator', () => seats.orchestrator.slot.close()],
      ['resources', () => seats.resources.slot.close()],
      ['ingress', () => ingress?.stop()],
      ['nodes', () => fleet.stop()],
      ['cluster snapshot', () => feed.save()],
      ['cluster feed', async () => feed.stop()],
      ['journal', () => journal.flushed()],
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
