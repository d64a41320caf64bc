import { type Activation, type Slot, type SlotHooks, withinDeadline } from '@cloudos/plugin-bus';
import {
  type Clock,
  CloudosError,
  checkEvent,
  event,
  type GuestContainerChange,
  type GuestExit,
  type GuestHealth,
  type GuestStatus,
  type HostInventory,
  type Logger,
  messageOf,
  type NewEvent,
  type PluginView,
  Semaphore,
  type SlotProviders,
} from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import type { ClusterState, InstanceRecord } from '../cluster/cluster-state.ts';
import type { StreamWriter } from '../stream-writer.ts';
import { adoptionEvents } from './adoption.ts';
import type { GuestRuntime, RuntimeOwner } from './guest-runtime.ts';
import { GuestWorker, type GuestWorkplace, type WorkBounds } from './guest-worker.ts';
import { same } from './same.ts';
import { type UsageTimes, usageRecordIntervalMs, usageWarmUpMs } from './usage-estimator.ts';
import { UsageWatch, usageSampleMs } from './usage-watch.ts';

/** Bounds of a node agent. */
export interface NodeLimits extends WorkBounds, UsageTimes {
  /** Time between two looks at what guests use, while that is asked for. */
  readonly usageSampleMs: number;
  /** Guests that are created, started, stopped or removed at the same time. */
  readonly operationsMax: number;
  /** How long a host may take to describe itself. */
  readonly inventoryDeadlineMs: number;
  /** How long a host driver may be down before the node counts as lost. */
  readonly hostGraceMs: number;
}

export const nodeLimits: NodeLimits = {
  operationsMax: 16,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 60_000,
  retriesMax: 10,
  inventoryDeadlineMs: 30_000,
  hostGraceMs: 10_000,
  usageSampleMs,
  usageWarmUpMs,
  usageRecordIntervalMs,
};

export interface NodeAgentOptions {
  readonly node: string;
  readonly cluster: ClusterState;
  readonly writer: StreamWriter;
  /** Resolves when the cluster state has taken in that position. */
  readonly level: (position: number) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The host is lost; what the log shall say of it is the kernel's to write. */
  readonly onLost: (reason: string) => void;
  readonly limits?: Partial<NodeLimits>;
  /** Whether the resource manager in charge asks what guests are expected to need. */
  readonly usageAsked?: () => boolean;
}

/**
 * Makes one node what the log says it should be, and records what came of it in the node's own stream. Effects follow
 * the log: an instance is placed, its guest is started, the start is recorded. After a restart it compares what the
 * drivers list with what the log says, and adopts, starts or removes.
 */
export class NodeAgent implements RuntimeOwner {
  readonly node: string;
  readonly clock: Clock;
  readonly #options: NodeAgentOptions;
  readonly #limits: NodeLimits;
  readonly #workplace: GuestWorkplace;
  readonly #workers = new Map<string, GuestWorker>();
  readonly #usage: UsageWatch;
  readonly #stopping = new AbortController();
  #host: Slot<'host'> | undefined;
  #runtimes: readonly GuestRuntime[] = [];
  #inventory: HostInventory | undefined;
  #inventories: Subscription | undefined;
  #joined = false;
  /** The host itself has ended its inventory: it is lost, not just its driver. */
  #hostGone = false;

  constructor(options: NodeAgentOptions) {
    this.#options = options;
    this.node = options.node;
    this.clock = options.clock;
    this.#limits = { ...nodeLimits, ...options.limits };
    const { node, cluster, clock, logger, writer } = options;
    this.#usage = new UsageWatch({
      node,
      clock,
      asked: () => options.usageAsked?.() === true,
      guests: () => this.#running(),
      times: this.#limits,
      record: (events) => writer.write(events),
      onFailure: (error) => logger.warn(`${node}: usage of guests: ${messageOf(error)}`),
    });
    this.#workplace = {
      node,
      cluster,
      clock,
      logger,
      operations: new Semaphore(this.#limits.operationsMax),
      limits: this.#limits,
      stopping: this.#stopping.signal,
      choose: (record) => this.#choose(record),
      record: (events) => writer.write(events),
      recordTold: (runtime, events) => this.#recordTold(runtime.slot, events),
      forget: (instance) => this.forget(instance),
    };
  }

  get host(): Slot<'host'> | undefined {
    return this.#host;
  }

  get runtimes(): readonly GuestRuntime[] {
    return this.#runtimes;
  }

  readonly hostHooks: SlotHooks<SlotProviders['host']> = {
    activated: (activation) => this.#watchHost(activation),
    deactivated: () => this.#inventories?.unsubscribe(),
    failed: ({ error, restartAt }) => this.#hostFailed(error.message, restartAt !== undefined),
  };

  /** A driver that is restarted may leave the node for a while; a host that says it is gone is lost at once. */
  #hostFailed(reason: string, restarted: boolean): void {
    if (!this.#joined || this.#stopping.signal.aborted) return;
    const lose = () => {
      const lost = this.#options.cluster.nodes.get(this.node)?.state !== 'ready';
      if (!lost && !this.#host?.active && !this.#stopping.signal.aborted) this.#options.onLost(reason);
    };
    if (this.#hostGone || !restarted) lose();
    else this.clock.after(this.#limits.hostGraceMs, lose);
  }

  /** Joins the cluster: claims the node's stream, offers its capacity, and puts its guests in order. */
  async start(host: Slot<'host'>, runtimes: readonly GuestRuntime[]): Promise<void> {
    this.#host = host;
    this.#runtimes = runtimes;
    await host.start();
    await this.#options.writer.claim();
    for (const runtime of runtimes) await runtime.slot.start();
    this.#joined = true;
    await this.#offer();
    this.#notifyAll();
    this.#usage.wake();
  }

  *#running() {
    for (const { instance, guest } of this.#placed()) {
      const runtime = this.#workers.get(instance)?.runtime;
      if (guest !== 'running' || !runtime) continue;
      yield { instance, stats: () => runtime.slot.call('stats', (driver) => driver.stats(instance)) };
    }
  }

  /** Something that the log says of the instance has changed. */
  notify(instance: string): void {
    if (!this.#joined || this.#stopping.signal.aborted) return;
    this.#worker(instance).notify();
    this.#usage.wake();
  }

  /** The log says that the guest is removed. */
  forget(instance: string): void {
    this.#workers.delete(instance);
  }

  /** The runtime that has the guest. @throws CloudosError GUEST_NOT_FOUND */
  runtimeOf(instance: string): GuestRuntime {
    const runtime = this.#workers.get(instance)?.runtime;
    if (runtime) return runtime;
    throw new CloudosError('GUEST_NOT_FOUND', `node ${this.node} has no guest ${instance}`);
  }

  /** Leaves every guest as it is. What was recorded is durable when it resolves. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#usage.stop();
    for (const worker of this.#workers.values()) worker.detach();
    await this.#options.writer
      .flushed()
      .catch((error) => this.#options.logger.warn(`${this.node}: ${messageOf(error)}`));
    for (const runtime of this.#runtimes) await runtime.slot.close();
    await this.#host?.close();
  }

  /** Removes every guest and everything that the drivers made, and takes the node out of the cluster. */
  async purge(): Promise<void> {
    for (const { slot } of this.#runtimes) await slot.call('purge', (driver) => driver.purge());
    await this.#record(event('NodeLeft', { node: this.node, reason: 'taken down' }));
    await this.#options.writer.flushed();
  }

  async found(runtime: GuestRuntime, statuses: readonly GuestStatus[]): Promise<void> {
    const { cluster, logger, writer, level } = this.#options;
    // What was recorded must be in the cluster state before it is compared with what the driver says.
    await writer.flushed();
    await level(writer.last);
    const listed = new Set<string>();
    for (const status of statuses) {
      listed.add(status.instance);
      const worker = this.#worker(status.instance);
      if (worker.busy) continue; // it asks the driver again by itself
      const record = cluster.instances.get(status.instance);
      if (record?.node === this.node) await this.#recordTold(runtime.slot, adoptionEvents(this.node, record, status));
      else logger.info(`${this.node}: guest ${status.instance} is not wanted any more, removing it`);
      worker.found(runtime, status);
    }
    for (const [instance, worker] of this.#workers) {
      if (worker.runtime === runtime && !listed.has(instance) && !worker.busy) worker.vanished();
    }
    for (const record of this.#placed()) {
      const ranHere = record.guest !== 'none' && record.runtime === runtime.fingerprint?.runtime;
      if (ranHere && !listed.has(record.instance)) await this.#record(...adoptionEvents(this.node, record, undefined));
    }
    if (this.#joined) this.#notifyAll();
  }

  exited(runtime: GuestRuntime, exit: GuestExit): void {
    const worker = this.#workers.get(exit.instance);
    if (worker?.runtime === runtime) worker.exited(exit);
  }

  healthTold(runtime: GuestRuntime, health: GuestHealth): void {
    const worker = this.#workers.get(health.instance);
    if (worker?.runtime === runtime) worker.healthTold(health);
  }

  containerChanged(runtime: GuestRuntime, change: GuestContainerChange): void {
    const worker = this.#workers.get(change.instance);
    if (worker?.runtime === runtime) worker.containerChanged(change);
  }

  offers(feature: string): boolean {
    const value = this.#inventory?.attributes[feature];
    return value !== undefined && value !== 'none' && value !== 'false';
  }

  fingerprinted(): void {
    if (!this.#joined) return;
    this.#offerAgain();
    this.#notifyAll();
  }

  /** The runtime that the instance asks for, or the first that is usable; else one that will be soon. */
  #choose(record: InstanceRecord): GuestRuntime {
    const wanted = record.runtime;
    const several = !wanted && record.template?.containers?.length;
    const fitting = this.#runtimes.filter(
      ({ fingerprint, slot }) =>
        (!wanted || fingerprint?.runtime === wanted) &&
        (!several || slot.spec.plugin.definition.supports?.pods === true),
    );
    const chosen = fitting.find((runtime) => runtime.usable) ?? fitting.find(({ slot }) => comesBack(slot.view()));
    if (chosen) return chosen;
    const have = this.#runtimes.map(
      ({ fingerprint, slot }) => fingerprint?.runtime ?? slot.spec.plugin.definition.name,
    );
    const why = fitting.map(({ fingerprint, slot }) =>
      fingerprint && !fingerprint.available ? fingerprint.reason : (slot.view().reason ?? 'its driver is not active'),
    );
    const asked = wanted ? `runtime ${wanted}` : several ? 'several containers in one guest' : 'any runtime';
    const message = `node ${this.node} cannot run ${asked}: ${why.join('; ') || `it has ${have.join(', ') || 'none'}`}`;
    throw new CloudosError('RUNTIME_UNAVAILABLE', message);
  }

  async #watchHost(activation: Activation<SlotProviders['host']>): Promise<void> {
    const first = new Promise<void>((resolve, reject) => {
      this.#hostGone = false;
      const gone = (error: unknown) => {
        this.#hostGone = true;
        reject(error);
        void this.#host?.fail(error, activation);
      };
      this.#inventories = activation.provider.inventory().subscribe({
        next: (inventory) => {
          this.#inventory = inventory;
          resolve();
          if (this.#joined) this.#offerAgain();
        },
        error: gone,
        complete: () => gone(new CloudosError('PLUGIN_FAILED', `the host of node ${this.node} is gone`)),
      });
    });
    await withinDeadline(this.clock, `${this.node}: inventory`, this.#limits.inventoryDeadlineMs, () => first);
  }

  #offerAgain(): void {
    this.#offer().catch((error) => this.#options.logger.warn(`${this.node}: ${messageOf(error)}`));
  }

  /** Records what the node offers, unless the log says so already. */
  async #offer(): Promise<void> {
    const inventory = this.#inventory;
    if (!inventory) return;
    const runtimes = this.#runtimes.flatMap(({ fingerprint, usable }) =>
      usable && fingerprint?.available
        ? [{ name: fingerprint.runtime, version: fingerprint.version, features: { ...fingerprint.features } }]
        : [],
    );
    const { capacity } = inventory;
    const attributes = { ...inventory.attributes };
    const known = this.#options.cluster.nodes.get(this.node);
    const joined = known?.state === 'ready' && same(known.attributes, attributes);
    if (joined && same(known.capacity, capacity) && same(known.runtimes, runtimes)) return;
    const { node } = this;
    const offer = joined
      ? event('NodeCapacityChanged', { node, capacity, runtimes })
      : event('NodeJoined', { node, capacity, attributes, runtimes });
    if (this.#host) await this.#recordTold(this.#host, [offer]);
  }

  #notifyAll(): void {
    for (const worker of [...this.#workers.values()]) worker.notify();
    for (const record of this.#placed()) this.notify(record.instance);
  }

  /** What the log has placed on this node. */
  *#placed(): Iterable<InstanceRecord> {
    const { cluster } = this.#options;
    for (const name of [...(cluster.nodes.get(this.node)?.instances ?? [])]) {
      const record = cluster.instances.get(name);
      if (record) yield record;
    }
  }

  #worker(instance: string): GuestWorker {
    let worker = this.#workers.get(instance);
    if (!worker) {
      worker = new GuestWorker(instance, this.#workplace);
      this.#workers.set(instance, worker);
    }
    return worker;
  }

  /** Records what a driver has told. What is malformed is not recorded: it costs the driver its slot. */
  #recordTold(slot: Slot<'guest'> | Slot<'host'>, events: readonly NewEvent[]): Promise<void> {
    if (events.length === 0) return Promise.resolve();
    try {
      for (const { type, data } of events) checkEvent(type, data);
    } catch (error) {
      const { name } = slot.spec.plugin.definition;
      const failure = new CloudosError('PLUGIN_FAILED', `${name} told what cannot be: ${messageOf(error)}`, {
        cause: error,
      });
      void slot.fail(failure, slot.active as never);
      return Promise.reject(failure);
    }
    return this.#options.writer.write(events);
  }

  async #record(...events: NewEvent[]): Promise<void> {
    if (events.length > 0) await this.#options.writer.write(events);
  }
}

/** A slot without a provider that will have one soon. */
function comesBack({ state, restartAt }: PluginView): boolean {
  return state === 'starting' || restartAt !== undefined;
}
