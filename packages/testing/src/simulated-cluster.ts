import { exportLog, MemoryEventLog } from '@cloudos/event-log';
import { bootKernel, type Kernel, type KernelLimits, parseStack } from '@cloudos/kernel';
import { givenPlugins } from '@cloudos/plugin-bus';
import { type AnyPlugin, apiVersion, definePlugin, type IdSource, type RecordedEvent } from '@cloudos/sdk';
import { z } from 'zod';
import { Life } from './mortal.ts';
import { SeededRandom, seededIds } from './seeded-random.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface SimulatedClusterOptions {
  /** Decides everything that is left to chance: the same seed gives the same log, byte for byte. */
  readonly seed: number;
  /** The plugins of the stack but for its log, which is in memory. */
  readonly plugins: readonly AnyPlugin[];
  readonly resources: PluginChoice;
  readonly orchestrator: PluginChoice;
  readonly nodes: readonly { name: string; count?: number; host: PluginChoice; guests: readonly PluginChoice[] }[];
  readonly limits?: KernelLimits;
}

/** A plugin by name, with configuration where it takes one. */
export type PluginChoice = string | { plugin: string; config?: unknown };

/**
 * A kernel over simulated nodes on a virtual clock, which can be killed at any moment and started again over the same
 * log and the same guests.
 */
export class SimulatedCluster {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly log: MemoryEventLog;
  readonly #options: SimulatedClusterOptions;
  readonly #newId: IdSource;
  #kernel: Kernel | undefined;
  #life = new Life();

  constructor(options: SimulatedClusterOptions) {
    this.#options = options;
    this.clock = new VirtualClock();
    this.random = new SeededRandom(options.seed);
    this.#newId = seededIds(this.clock, this.random.fork('ids'));
    this.log = new MemoryEventLog({ clock: this.clock, newId: this.#newId });
  }

  /** The kernel of this life. */
  get kernel(): Kernel {
    if (!this.#kernel) throw new Error('the simulated cluster is not running');
    return this.#kernel;
  }

  get life(): Life {
    return this.#life;
  }

  /**
   * Boots a kernel.
   * @param steps moments until it dies; it may be dead before it has started
   * @returns whether it has started
   */
  async start(steps = Number.POSITIVE_INFINITY): Promise<boolean> {
    this.#kernel = undefined;
    const life = new Life(steps);
    this.#life = life;
    const { plugins, limits, resources, orchestrator, nodes } = this.#options;
    const log = definePlugin({
      name: 'log-simulated',
      slot: 'log',
      apiVersion,
      description: 'the log of a simulated cluster',
      config: z.object({}),
      create: () => this.log,
    });
    const stack = {
      apiVersion: 'cloudos/v1',
      kind: 'Stack',
      name: 'simulated',
      log: log.name,
      resources,
      orchestrator,
      nodes,
    };
    const booting = bootKernel({
      stack: parseStack(JSON.stringify(stack), 'simulated'),
      stateDir: 'simulated',
      clock: life.lendClock(this.clock),
      newId: this.#newId,
      plugins: givenPlugins([log, ...plugins].map((plugin) => life.lend(plugin as AnyPlugin, this.clock))),
      ...(limits && { limits }),
    });
    const booted = await this.#drive(Promise.race([booting, life.end.then(() => undefined)]));
    if (!booted || !life.alive) return false;
    this.#kernel = booted;
    return true;
  }

  /** Kills the kernel where it stands. Guests and log stay. */
  kill(): void {
    this.#life.cut();
    this.#kernel = undefined;
  }

  async stop(): Promise<void> {
    if (this.#kernel) await this.#drive(this.#kernel.stop());
    this.#kernel = undefined;
  }

  /**
   * Lets time go by until the condition holds, the kernel dies or the limit is reached.
   * @returns whether the condition holds
   */
  async until(condition: () => boolean, limitMs: number): Promise<boolean> {
    await this.clock.runUntil(() => condition() || !this.#life.alive, limitMs);
    return condition();
  }

  /** Waits for work of the kernel while time goes by; undefined when the kernel dies first. */
  async drive<T>(work: Promise<T>): Promise<T | undefined> {
    return this.#drive(Promise.race([work, this.#life.end.then(() => undefined)]));
  }

  async events(): Promise<RecordedEvent[]> {
    const events: RecordedEvent[] = [];
    for await (const batch of this.log.read({})) events.push(...batch);
    return events;
  }

  /** The whole log as JSON lines. */
  async bytes(): Promise<string> {
    let lines = '';
    for await (const part of exportLog(this.log)) lines += part;
    return lines;
  }

  async #drive<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    if (!(await this.clock.runUntil(() => settled, driveLimitMs))) {
      throw new Error(`simulated cluster: still waiting after ${driveLimitMs} ms of virtual time`);
    }
    return work;
  }
}

/** Virtual time that one piece of work may take. */
const driveLimitMs = 3_600_000;
