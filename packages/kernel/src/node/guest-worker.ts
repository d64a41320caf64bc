import {
  type Clock,
  CloudosError,
  delay,
  type EventData,
  errorCode,
  event,
  type GuestContainerChange,
  type GuestContainerStatus,
  type GuestExit,
  type GuestHealth,
  type GuestLimits,
  type GuestSpec,
  type GuestStatus,
  hasCode,
  type Logger,
  messageOf,
  type NewEvent,
  type Semaphore,
} from '@cloudos/sdk';
import { type ClusterState, type InstanceRecord, sameLimits } from '../cluster/cluster-state.ts';
import { exitedEvent, startedEvent } from './adoption.ts';
import type { GuestRuntime } from './guest-runtime.ts';
import { GuestWatch, stopMarginMs } from './guest-watch.ts';
import { isDriverDown } from './probe-check.ts';

/** Bounds of the work on one guest. */
export interface WorkBounds {
  /** Between two tries to stop or remove a guest; doubled each time. */
  readonly retryDelayMs: number;
  readonly retryDelayMaxMs: number;
  /** Tries before it is left to the next restart of the agent or the driver. */
  readonly retriesMax: number;
}

/** What the node gives to the workers of its guests. */
export interface GuestWorkplace {
  readonly node: string;
  readonly cluster: ClusterState;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly operations: Semaphore;
  readonly limits: WorkBounds;
  readonly stopping: AbortSignal;
  /** The runtime for an instance. @throws CloudosError RUNTIME_UNAVAILABLE */
  choose(record: InstanceRecord): GuestRuntime;
  /** Records in the node's stream; holds back while too much waits there. */
  record(events: readonly NewEvent[]): Promise<void>;
  /** Records what a driver has told. @throws CloudosError PLUGIN_FAILED when that is malformed; the driver pays for it */
  recordTold(runtime: GuestRuntime, events: readonly NewEvent[]): Promise<void>;
  /** Nothing is left of a guest that the log does not know. */
  forget(instance: string): void;
}

type Stage = EventData<'GuestFailed'>['stage'];

/**
 * Brings one guest to what the log wants of it, one step after another, and records each outcome. What it knows of the
 * guest is what the driver told it last; what is wanted it reads from the cluster state each time.
 */
export class GuestWorker {
  readonly instance: string;
  readonly #at: GuestWorkplace;
  #runtime: GuestRuntime | undefined;
  #phase: 'none' | 'created' | 'running' | 'exited' | 'failed' | 'removed' = 'none';
  /** The last run that was tried; 0 before the first. */
  #attempt: number;
  #busy = false;
  #dirty = false;
  /** `stop` is under way: the exit is what it resolves with, not news. */
  #awaitsExit = false;
  /** What the driver told of the exit while it was awaited. */
  #toldExit: GuestExit | undefined;
  /** An exit that was told before the start of its run had been noted. */
  #earlyExit: GuestExit | undefined;
  /** Tries in a row to stop or remove it that failed. */
  #failures = 0;
  /** The limits that were tried last to be given in place. */
  #resized: GuestLimits | undefined;
  /** How often a call for this guest has taken its driver down. */
  #blame = 0;
  readonly #watch: GuestWatch;

  constructor(instance: string, workplace: GuestWorkplace) {
    this.instance = instance;
    this.#at = workplace;
    this.#attempt = this.#record()?.attempt ?? 0;
    const { node, clock, logger } = workplace;
    this.#watch = new GuestWatch({
      instance,
      node,
      clock,
      logger,
      runtime: () => this.#runtime,
      record: () => this.#record(),
      tell: (entry) => this.#tell(entry),
    });
  }

  get runtime(): GuestRuntime | undefined {
    return this.#runtime;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Something about the instance may have changed. */
  notify(): void {
    this.#dirty = true;
    if (!this.#busy) void this.#work();
  }

  /** Takes note of a guest that the driver has listed. */
  found(runtime: GuestRuntime, status: GuestStatus): void {
    this.#runtime = runtime;
    this.#phase = status.state === 'paused' ? 'running' : status.state;
    const record = this.#record();
    this.#attempt = Math.max(status.attempt, record?.attempt ?? 0);
    if (this.#phase === 'running' && record?.wanted === 'run') {
      this.#watch.begin(record.template, this.#attempt, status.containers, record);
    }
  }

  /** The driver does not list the guest any more. */
  vanished(): void {
    this.#watch.stop();
    if (this.#phase !== 'removed') this.#phase = 'none';
  }

  /** The driver tells of an exit. */
  exited(exit: GuestExit): void {
    if (this.#awaitsExit) this.#toldExit = exit;
    if (this.#awaitsExit || !this.#record()) return;
    if (this.#phase === 'running' && exit.attempt === this.#attempt) this.#ended(exit);
    else if (this.#busy && exit.attempt > this.#attempt) this.#earlyExit = exit;
  }

  /** The driver tells whether the guest can go on. */
  healthTold(health: GuestHealth): void {
    this.#watch.healthTold(health);
  }

  /** The driver tells of a container beside the first. */
  containerChanged(change: GuestContainerChange): void {
    this.#watch.containerChanged(change);
  }

  /** Stops probing; the guest stays as it is. */
  detach(): void {
    this.#watch.stop();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    try {
      while (this.#dirty && !this.#at.stopping.aborted) {
        this.#dirty = false;
        await this.#settle();
      }
    } catch (error) {
      // What a writer failed with is told to the node by the writer; anything else is a bug that must be seen.
      if (!this.#at.stopping.aborted) this.#at.logger.error(`${this.#at.node}: ${this.instance}: ${messageOf(error)}`);
    } finally {
      this.#busy = false;
    }
  }

  async #settle(): Promise<void> {
    if (this.#phase === 'removed') return; // recorded; the log has yet to tell so
    const record = this.#record();
    if (!record || record.wanted === 'stop') return this.#retire(record);
    if (record.resize) await this.#resize(record.resize);
    if (record.attemptWanted <= this.#attempt) return;
    try {
      if (this.#phase === 'running') await this.#stop(record.graceMs);
    } catch (error) {
      return this.#tryLater(record, 'stop', error);
    }
    if (!this.#at.stopping.aborted) await this.#run(record);
    // Limits that changed while the guest was being made.
    if (this.#record()?.resize && this.#phase !== 'failed') this.#dirty = true;
  }

  /** Gives the guest other limits in place. A failure is recorded, and leaves it as it is. */
  async #resize(wanted: GuestLimits): Promise<void> {
    const runtime = this.#runtime;
    if (!runtime || this.#phase === 'none' || this.#phase === 'failed') return; // it will be made with them
    if (this.#resized && sameLimits(this.#resized, wanted)) return; // recorded; the log has yet to tell so
    const about = { ...this.#about, ...wanted };
    try {
      await this.#at.operations.run(() =>
        runtime.slot.call('resize', async (driver) => {
          if (driver.resize) return driver.resize(this.instance, wanted);
          throw new CloudosError(
            'GUEST_UNSUPPORTED',
            `${runtime.fingerprint?.runtime} takes other limits with a new guest`,
          );
        }),
      );
      this.#resized = wanted;
      await this.#at.record([event('GuestResized', about)]);
    } catch (error) {
      if (this.#at.stopping.aborted || this.#slotComesBack(error)) return;
      this.#resized = wanted;
      const { remedy } = error as Partial<CloudosError>;
      const why = { code: errorCode(error) ?? 'PLUGIN_FAILED', reason: messageOf(error) };
      await this.#at.record([
        event('GuestResizeFailed', { ...about, ...why, ...(remedy !== undefined && { remedy }) }),
      ]);
    }
  }

  /** Creates the guest, unless it is there, and starts it. One function for all of it: it is what every instance costs. */
  async #run(record: InstanceRecord): Promise<void> {
    const { operations } = this.#at;
    const attempt = record.attemptWanted;
    let stage: Stage = 'create';
    try {
      const runtime = this.#isMissing ? this.#at.choose(record) : this.#runtime;
      if (!runtime) throw new Error('a guest without a runtime');
      this.#runtime = runtime;
      const turn = operations.enter();
      if (turn) await turn;
      try {
        if (this.#isMissing) {
          const spec = this.#specOf(record);
          const created = await runtime.slot.call('create', (driver) => driver.create(spec));
          this.#phase = 'created';
          const about = { ...this.#about, runtime: created.runtime, handle: created.handle };
          await this.#at.recordTold(runtime, [event('GuestCreated', about)]);
        }
        stage = 'start';
        this.#earlyExit = undefined;
        this.#watch.expect();
        const started = await runtime.slot.call('start', (driver) => driver.start(this.instance, attempt));
        this.#phase = 'running';
        this.#attempt = attempt;
        await this.#at.recordTold(runtime, [startedEvent(this.#at.node, started)]);
        this.#begun(record, attempt, started.exit ?? this.#earlyExit, started.containers);
      } finally {
        operations.leave();
      }
    } catch (error) {
      await this.#failed(attempt, stage, error);
    }
  }

  get #isMissing(): boolean {
    return this.#phase === 'none' || this.#phase === 'failed';
  }

  /** The start is recorded. The run may have ended since, or before it was told of. */
  #begun(
    record: InstanceRecord,
    attempt: number,
    exit: GuestExit | undefined,
    containers: readonly GuestContainerStatus[] | undefined,
  ): void {
    if (this.#phase !== 'running') return;
    if (exit && exit.attempt === attempt) this.#ended(exit);
    else this.#watch.begin(record.template, attempt, containers);
    this.#watch.heedEarly(attempt);
  }

  async #retire(record: InstanceRecord | undefined): Promise<void> {
    this.#watch.stop();
    try {
      if (record && this.#phase === 'running') {
        if (record.drainMs > 0) await delay(this.#at.clock, record.drainMs, this.#at.stopping);
        if (this.#at.stopping.aborted) return;
        if (this.#phase === 'running') await this.#stop(record.graceMs);
      }
      // What the log has of the guest must be gone, whether or not its driver has told us of it.
      if (!this.#runtime && record && record.guest !== 'none') this.#runtime = this.#at.choose(record);
      const runtime = this.#runtime;
      if (runtime)
        await this.#at.operations.run(() => runtime.slot.call('remove', (driver) => driver.remove(this.instance)));
      this.#phase = 'removed';
      if (record) await this.#at.record([event('GuestRemoved', this.#about)]);
      else this.#at.forget(this.instance);
    } catch (error) {
      await this.#tryLater(record, this.#phase === 'running' ? 'stop' : 'remove', error);
    }
  }

  /** Records a failure to stop or remove the guest, and comes back to it: a bounded number of times, less and less often. */
  async #tryLater(record: InstanceRecord | undefined, stage: Stage, error: unknown): Promise<void> {
    const { stopping, limits, clock } = this.#at;
    if (stopping.aborted || this.#slotComesBack(error)) return;
    if (record) await this.#failed(this.#attempt, stage, error);
    if (++this.#failures > limits.retriesMax) return;
    const delayMs = Math.min(limits.retryDelayMs * 2 ** (this.#failures - 1), limits.retryDelayMaxMs);
    clock.after(delayMs, () => this.notify());
  }

  async #stop(graceMs: number): Promise<void> {
    const runtime = this.#runtime;
    if (!runtime) return;
    this.#awaitsExit = true;
    this.#toldExit = undefined;
    this.#watch.stop();
    try {
      const stopped = await runtime.slot.call(
        'stop',
        (driver) => driver.stop(this.instance, graceMs),
        graceMs + stopMarginMs,
      );
      const { instance } = this;
      const unknown: GuestExit = { instance, attempt: this.#attempt, exitCode: null, signal: null, reason: 'stopped' };
      this.#ended(stopped ?? this.#toldExit ?? unknown);
      this.#failures = 0;
    } finally {
      this.#awaitsExit = false;
    }
  }

  #ended(exit: GuestExit): void {
    this.#phase = 'exited';
    this.#watch.ended();
    const runtime = this.#runtime;
    // What the writer fails with it tells the node itself; what is malformed costs the driver its slot.
    if (runtime) this.#at.recordTold(runtime, [exitedEvent(this.#at.node, exit)]).catch(() => {});
  }

  async #failed(attempt: number, stage: Stage, error: unknown): Promise<void> {
    if (this.#at.stopping.aborted || this.#slotComesBack(error)) return; // settled again when the driver is back
    if (stage === 'create' || stage === 'start') this.#attempt = attempt;
    if (stage === 'create') this.#phase = 'failed';
    const { remedy } = error as Partial<CloudosError>;
    await this.#at.record([
      event('GuestFailed', {
        ...this.#about,
        attempt: Math.max(1, attempt),
        stage,
        code: errorCode(error) ?? 'PLUGIN_FAILED',
        reason: messageOf(error),
        ...(remedy !== undefined && { remedy }),
      }),
    ]);
  }

  #specOf({ instance, workload, revision, template }: InstanceRecord): GuestSpec {
    if (template) return { instance, workload, node: this.#at.node, template };
    throw new CloudosError(
      'GUEST_SPEC_INVALID',
      `${instance}: workload ${workload} has no revision ${revision} in the log`,
    );
  }

  /** What the log says of the instance, if it is placed on this node. */
  #record(): InstanceRecord | undefined {
    const record = this.#at.cluster.instances.get(this.instance);
    return record?.node === this.#at.node ? record : undefined;
  }

  /**
   * The driver is down and will be restarted: what was asked of it is asked again then. Not for ever for a guest that
   * takes it down itself.
   */
  #slotComesBack(error: unknown): boolean {
    const slot = this.#runtime?.slot.view();
    if (!isDriverDown(error) || slot === undefined) return false;
    if (!hasCode(error, 'SLOT_EMPTY') && ++this.#blame > blameMax) return false;
    return slot.state !== 'failed' || slot.restartAt !== undefined;
  }

  get #about(): { instance: string; node: string } {
    return { instance: this.instance, node: this.#at.node };
  }

  /** Records without waiting for room. */
  #tell(entry: NewEvent): void {
    this.#at.record([entry]).catch(() => {}); // the writer tells the node by itself
  }
}

/** Calls for one guest that may take its driver down before the guest counts as failed. */
const blameMax = 2;
