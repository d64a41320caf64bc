import {
  type ApiContext,
  asCloudosError,
  CloudosError,
  errorCode,
  messageOf,
  type PluginView,
  Scope,
  type SlotName,
  type SlotProviders,
} from '@cloudos/sdk';
import { isThenable, timedOut, withinDeadline } from './deadline.ts';
import { checkConfig, expectSlot } from './plugin-loader.ts';
import {
  type Activation,
  type Health,
  type PluginSpec,
  type SlotLimits,
  type SlotOptions,
  slotLimits,
} from './slot-options.ts';

/**
 * One place in a stack, and the plugin that fills it now. A plugin that throws or hangs takes down its slot and no
 * more: the slot is restarted with backoff, a bounded number of times. Consumers hold the slot, never a provider.
 */
export class Slot<S extends SlotName> {
  readonly name: S;
  readonly node: string | undefined;
  readonly #options: SlotOptions<S>;
  readonly #limits: SlotLimits;
  #spec: PluginSpec;
  #active: Activation<SlotProviders[S]> | undefined;
  #generation: number;
  #attempt = 0;
  #state: PluginView['state'] = 'stopped';
  #failure: CloudosError | undefined;
  #restartAt: number | undefined;
  #cancelRestart: () => void = () => {};
  /** Since when the provider has been at work; Infinity while it is not. */
  #soundSince = Number.POSITIVE_INFINITY;
  #closed = false;
  /** The end of the last change of the provider that was asked for. */
  #turn: Promise<void> = Promise.resolve();
  readonly #health = new WeakMap<Activation<SlotProviders[S]>, Health<SlotProviders[S]>>();
  /** While the provider is being replaced, what new calls wait for. */
  #gate: Promise<void> | undefined;
  #open: () => void = () => {};
  #replacing = 0;
  #calls = 0;
  #idle: () => void = () => {};

  constructor(spec: PluginSpec, options: SlotOptions<S>) {
    expectSlot(spec.plugin, options.slot);
    this.name = options.slot;
    this.node = options.node;
    this.#options = options;
    this.#limits = { ...slotLimits, ...options.limits };
    this.#spec = { plugin: spec.plugin, config: checkConfig(spec.plugin.definition, spec.config) };
    this.#generation = options.generation ?? 0;
  }

  get active(): Activation<SlotProviders[S]> | undefined {
    return this.#active;
  }

  get spec(): PluginSpec {
    return this.#spec;
  }

  get label(): string {
    return this.node === undefined ? this.name : `${this.name}@${this.node}`;
  }

  view(): PluginView {
    return {
      slot: this.name,
      ...(this.node !== undefined && { node: this.node }),
      plugin: this.#spec.plugin.definition.name,
      version: this.#spec.plugin.version,
      generation: this.#generation,
      state: this.#state,
      attempt: this.#attempt,
      ...(this.#failure && { code: this.#failure.code, reason: this.#failure.message }),
      ...(this.#restartAt !== undefined && { restartAt: this.#restartAt }),
    };
  }

  /** Activates the plugin. A failure is reported through the hooks and tried again; it is not thrown. */
  start(): Promise<void> {
    return this.#inTurn(() => this.#start());
  }

  /** Resolves when the provider is not being replaced at the moment. */
  async settled(): Promise<void> {
    while (this.#gate) await this.#gate;
  }

  /**
   * The provider's answer. A call that exceeds its deadline, or throws anything but an operational error, takes the
   * slot down. @throws CloudosError SLOT_EMPTY while nothing is active; otherwise what the provider threw
   */
  call<T>(
    label: string,
    use: (provider: SlotProviders[S]) => T | Promise<T>,
    deadlineMs: number = this.#limits.callDeadlineMs,
  ): Promise<T> {
    if (this.#gate) return this.settled().then(() => this.call(label, use, deadlineMs));
    const active = this.#active;
    if (!active) return Promise.reject(this.#emptyError());
    this.#calls++;
    // By hand: every step of every guest comes through here.
    return new Promise<T>((resolve, reject) => {
      let cancel: (() => void) | undefined;
      let isOpen = true;
      const failed = (error: unknown) => {
        if (!isOpen) return;
        isOpen = false;
        cancel?.();
        reject(this.#callFailed(error, active, label));
      };
      try {
        const answer = use(active.provider);
        if (!isThenable(answer)) {
          isOpen = false;
          this.#returned();
          return resolve(answer);
        }
        cancel = this.#options.clock.after(deadlineMs, () =>
          failed(timedOut(`${active.spec.plugin.definition.name}: ${label}`, deadlineMs)),
        );
        answer.then((result) => {
          if (!isOpen) return;
          isOpen = false;
          cancel?.();
          this.#returned();
          resolve(result);
        }, failed);
      } catch (error) {
        failed(error);
      }
    });
  }

  #callFailed(error: unknown, active: Activation<SlotProviders[S]>, label: string): CloudosError {
    const code = errorCode(error);
    if (code === undefined || code === 'PLUGIN_TIMEOUT') void this.fail(error, active);
    this.#returned();
    return this.#stamp(asCloudosError(error, 'PLUGIN_FAILED', label), active);
  }

  #returned(): void {
    if (--this.#calls === 0) this.#idle();
  }

  /** Resolves when no call is under way any more. Calls end within their deadlines. */
  #quiet(): Promise<void> {
    if (this.#calls === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /**
   * Takes the slot down because of that error, and restarts it later. Ignored for a provider that is not in charge.
   * @param final do not restart it: another kernel has taken over what it did
   */
  fail(error: unknown, of: Activation<SlotProviders[S]> | undefined, final = false): Promise<void> {
    return this.#inTurn(async () => {
      if (of !== undefined && of === this.#active && !this.#closed) await this.#fail(error, final);
    });
  }

  /** Creates a provider in a scope of its own without putting it in charge. */
  async prepare(spec: PluginSpec): Promise<Activation<SlotProviders[S]>> {
    const { definition } = spec.plugin;
    expectSlot(spec.plugin, this.name);
    const config = checkConfig(definition, spec.config);
    const generation = ++this.#generation;
    const scope = new Scope(`${definition.name}#${generation}`);
    const { clock, newId, logger, dataDir, stateDir, kernel } = this.#options;
    const health: Health<SlotProviders[S]> = {};
    const context = {
      scope,
      logger,
      clock,
      newId,
      generation,
      dataDir: dataDir(definition.name),
      stateDir,
      ...(this.node !== undefined && { node: { id: this.node } }),
      ...(kernel && { kernel }),
      fail: (error: unknown) => {
        health.failure ??= asCloudosError(error, 'PLUGIN_FAILED');
        void this.fail(error, health.activation);
      },
    };
    try {
      const provider = await withinDeadline(clock, `${definition.name}: create`, this.#limits.activateDeadlineMs, () =>
        // Only plugins of the slot that the kernel is given to may use it.
        definition.create(context as ApiContext, config),
      );
      if (health.failure) throw health.failure;
      const activation = {
        spec: { plugin: spec.plugin, config },
        provider: provider as SlotProviders[S],
        generation,
        scope,
      };
      health.activation = activation;
      this.#health.set(activation, health);
      return activation;
    } catch (error) {
      await this.#closeScope(scope);
      throw asCloudosError(error, 'PLUGIN_FAILED', `${definition.name}: create`);
    }
  }

  /** Closes a provider that was prepared and is not put in charge. */
  discard(activation: Activation<SlotProviders[S]>): Promise<void> {
    return this.#closeScope(activation.scope);
  }

  /**
   * Holds back new calls until those under way have ended, lets `handOver` move what is needed from the predecessor to
   * the successor, then puts the successor in charge. When `handOver` throws, or the successor has failed before it,
   * the predecessor stays and the successor is closed. When the successor fails after it, it is in charge all the same
   * and restarted like any other.
   */
  replace(
    successor: Activation<SlotProviders[S]>,
    handOver: (from: Activation<SlotProviders[S]> | undefined) => Promise<void>,
  ): Promise<void> {
    this.#replacing++;
    this.#gate ??= new Promise((open) => {
      this.#open = open;
    });
    return this.#inTurn(() => this.#replace(successor, handOver)).finally(() => {
      if (--this.#replacing > 0) return;
      this.#gate = undefined;
      this.#open();
    });
  }

  /** Takes the provider out of use. What it runs goes on running. */
  close(): Promise<void> {
    this.#closed = true;
    this.#cancelRestart();
    return this.#inTurn(async () => {
      const active = this.#active;
      this.#active = undefined;
      this.#state = 'stopped';
      if (active) await this.#release(active);
    });
  }

  async #start(): Promise<void> {
    if (this.#closed || this.#active) return;
    this.#state = 'starting';
    this.#restartAt = undefined;
    try {
      const activation = await this.prepare(this.#spec);
      if (this.#closed) return await this.discard(activation);
      this.#active = activation;
      await this.#options.hooks.activated(activation);
      this.#settle();
    } catch (error) {
      await this.#fail(error);
    }
  }

  async #replace(
    successor: Activation<SlotProviders[S]>,
    handOver: (from: Activation<SlotProviders[S]> | undefined) => Promise<void>,
  ): Promise<void> {
    const predecessor = await this.#handOver(successor, handOver);
    this.#cancelRestart();
    this.#active = successor;
    this.#soundSince = Number.POSITIVE_INFINITY;
    this.#spec = successor.spec;
    this.#attempt = 0;
    try {
      if (predecessor) await this.#deactivate(predecessor);
      await this.#options.hooks.activated(successor);
      this.#settle();
    } catch (error) {
      await this.#fail(error);
      throw error;
    } finally {
      if (predecessor) await this.#closeScope(predecessor.scope);
    }
  }

  async #handOver(
    successor: Activation<SlotProviders[S]>,
    handOver: (from: Activation<SlotProviders[S]> | undefined) => Promise<void>,
  ): Promise<Activation<SlotProviders[S]> | undefined> {
    try {
      await this.#quiet();
      if (this.#closed) throw this.#emptyError();
      const failure = this.#health.get(successor)?.failure;
      if (failure) throw failure;
      const predecessor = this.#active;
      await handOver(predecessor);
      return predecessor;
    } catch (error) {
      await this.discard(successor);
      throw error;
    }
  }

  #settle(): void {
    this.#state = 'active';
    this.#failure = undefined;
    this.#restartAt = undefined;
    this.#soundSince = this.#options.clock.now();
  }

  async #fail(error: unknown, final = false): Promise<void> {
    const { clock, hooks, logger } = this.#options;
    const active = this.#active;
    this.#active = undefined;
    this.#state = 'failed';
    const now = clock.now();
    if (now - this.#soundSince >= this.#limits.soundAfterMs) this.#attempt = 0;
    this.#soundSince = Number.POSITIVE_INFINITY;
    this.#attempt++;
    const failure = this.#stamp(asCloudosError(error, 'PLUGIN_FAILED'), active);
    this.#failure = failure;
    const again = !final && this.#attempt <= this.#limits.restartsMax && !this.#closed;
    const delayMs = Math.min(this.#limits.restartDelayMs * 2 ** (this.#attempt - 1), this.#limits.restartDelayMaxMs);
    this.#restartAt = again ? now + delayMs : undefined;
    logger.error(`${this.label}: ${failure.message}`, { code: failure.code, attempt: this.#attempt });
    hooks.failed({
      slot: this.name,
      ...(this.node !== undefined && { node: this.node }),
      plugin: this.#spec.plugin.definition.name,
      generation: active?.generation ?? this.#generation,
      error: failure,
      attempt: this.#attempt,
      ...(this.#restartAt !== undefined && { restartAt: this.#restartAt }),
    });
    if (active) await this.#release(active);
    this.#cancelRestart();
    if (again && !this.#closed) this.#cancelRestart = clock.after(delayMs, () => void this.start());
  }

  /** One after another: starting, failing, replacing and closing never overlap. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  async #release(activation: Activation<SlotProviders[S]>): Promise<void> {
    await this.#deactivate(activation);
    await this.#closeScope(activation.scope);
  }

  /** Whatever goes wrong in taking a provider out of use, it is out of use. */
  async #deactivate(activation: Activation<SlotProviders[S]>): Promise<void> {
    try {
      await this.#options.hooks.deactivated(activation);
    } catch (error) {
      this.#options.logger.warn(`${this.label}: leaving ${activation.scope.label}: ${messageOf(error)}`);
    }
  }

  async #closeScope(scope: Scope): Promise<void> {
    await scope.close().catch((error) => this.#options.logger.warn(`${this.label}: ${messageOf(error)}`));
  }

  #stamp(error: CloudosError, active: Activation<SlotProviders[S]> | undefined): CloudosError {
    error.origin ??= { plugin: this.#spec.plugin.definition.name, generation: active?.generation ?? this.#generation };
    return error;
  }

  #emptyError(): CloudosError {
    const why = this.#failure ? `: ${this.#failure.message}` : '';
    return new CloudosError('SLOT_EMPTY', `slot ${this.label} has no working provider (${this.#state})${why}`);
  }
}
