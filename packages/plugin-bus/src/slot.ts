import {
  asCloudosError,
  type Clock,
  CloudosError,
  errorCode,
  type IdSource,
  type Logger,
  type PluginContext,
  type PluginView,
  Scope,
  type SlotName,
  type SlotProviders,
} from '@cloudos/sdk';
import { withinDeadline } from './deadline.ts';
import { checkConfig, expectSlot, type LoadedPlugin } from './plugin-loader.ts';

/** A plugin and what the stack file configures it with. */
export interface PluginSpec {
  readonly plugin: LoadedPlugin;
  readonly config: unknown;
}

/** A provider in charge of its slot, or about to be. */
export interface Activation<P> {
  readonly spec: PluginSpec;
  readonly provider: P;
  readonly generation: number;
  readonly scope: Scope;
}

/** What the owner of a slot does when its provider comes and goes. */
export interface SlotHooks<P> {
  /** Takes the provider into use. A throw counts as a failure of the plugin. */
  activated(activation: Activation<P>): void | Promise<void>;
  /** The provider is not in use any more; its scope closes next. */
  deactivated(activation: Activation<P>): void | Promise<void>;
  /** A failure was noticed. `restartAt` is absent when it is not tried again. */
  failed(failure: SlotFailure): void;
}

export interface SlotFailure {
  readonly slot: SlotName;
  readonly node?: string;
  readonly plugin: string;
  readonly generation: number;
  readonly error: CloudosError;
  readonly attempt: number;
  readonly restartAt?: number;
}

/** Bounds of a slot. */
export interface SlotLimits {
  /** How long `create` of a plugin may take. */
  readonly activateDeadlineMs: number;
  /** How long one call of a driver may take unless the caller says otherwise. */
  readonly callDeadlineMs: number;
  /** Restarts before the slot stays failed. */
  readonly restartsMax: number;
  /** First delay before a restart; doubled each time. */
  readonly restartDelayMs: number;
  readonly restartDelayMaxMs: number;
  /** Sound for that long: the count of restarts begins anew. */
  readonly soundAfterMs: number;
}

export const slotLimits: SlotLimits = {
  activateDeadlineMs: 30_000,
  callDeadlineMs: 120_000,
  restartsMax: 5,
  restartDelayMs: 500,
  restartDelayMaxMs: 30_000,
  soundAfterMs: 60_000,
};

export interface SlotOptions<S extends SlotName> {
  readonly slot: S;
  readonly node?: string;
  readonly dataDir: (plugin: string) => string;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger: Logger;
  readonly hooks: SlotHooks<SlotProviders[S]>;
  readonly limits?: Partial<SlotLimits>;
  /** Generation of the last activation that the log knows of. */
  readonly generation?: number;
}

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
  #soundSince = 0;
  #closed = false;
  /** While the provider is being replaced, what new calls wait for. */
  #gate: Promise<void> | undefined;
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
  async start(): Promise<void> {
    if (this.#closed || this.#active) return;
    this.#state = 'starting';
    this.#restartAt = undefined;
    try {
      const activation = await this.prepare(this.#spec);
      if (this.#closed) return await activation.scope.close();
      this.#active = activation;
      await this.#options.hooks.activated(activation);
      this.#settle();
    } catch (error) {
      await this.#fail(error);
    }
  }

  /**
   * The provider's answer. A call that exceeds its deadline, or throws anything but an operational error, takes the
   * slot down. @throws CloudosError SLOT_EMPTY while nothing is active; otherwise what the provider threw
   */
  async call<T>(
    label: string,
    use: (provider: SlotProviders[S]) => T | Promise<T>,
    deadlineMs: number = this.#limits.callDeadlineMs,
  ): Promise<T> {
    if (this.#gate) await this.#gate;
    const active = this.#active;
    if (!active) throw this.#emptyError();
    this.#calls++;
    try {
      return await withinDeadline(
        this.#options.clock,
        `${active.spec.plugin.definition.name}: ${label}`,
        deadlineMs,
        () => use(active.provider),
      );
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined || code === 'PLUGIN_TIMEOUT') void this.fail(error, active);
      throw this.#stamp(asCloudosError(error, 'PLUGIN_FAILED', label), active);
    } finally {
      if (--this.#calls === 0) this.#idle();
    }
  }

  /** Resolves when no call is under way any more. Calls end within their deadlines. */
  #quiet(): Promise<void> {
    if (this.#calls === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /**
   * Takes the slot down because of that error, and restarts it later. Ignored for a provider that is gone already.
   * @param final do not restart it: another kernel has taken over what it did
   */
  async fail(
    error: unknown,
    of: Activation<SlotProviders[S]> | undefined = this.#active,
    final = false,
  ): Promise<void> {
    if (of !== this.#active || this.#closed) return;
    await this.#fail(error, final);
  }

  /** Creates a provider in a scope of its own without putting it in charge. */
  async prepare(spec: PluginSpec): Promise<Activation<SlotProviders[S]>> {
    const { definition } = spec.plugin;
    expectSlot(spec.plugin, this.name);
    const config = checkConfig(definition, spec.config);
    const generation = ++this.#generation;
    const scope = new Scope(`${definition.name}#${generation}`);
    const { clock, newId, logger, dataDir } = this.#options;
    const holder: { activation?: Activation<SlotProviders[S]> } = {};
    const context: PluginContext = {
      scope,
      logger,
      clock,
      newId,
      generation,
      dataDir: dataDir(definition.name),
      ...(this.node !== undefined && { node: { id: this.node } }),
      fail: (error) => void this.fail(error, holder.activation),
    };
    try {
      const provider = await withinDeadline(clock, `${definition.name}: create`, this.#limits.activateDeadlineMs, () =>
        definition.create(context, config),
      );
      holder.activation = {
        spec: { plugin: spec.plugin, config },
        provider: provider as SlotProviders[S],
        generation,
        scope,
      };
      return holder.activation;
    } catch (error) {
      await scope.close().catch((closing) => logger.warn(String(closing)));
      throw asCloudosError(error, 'PLUGIN_FAILED', `${definition.name}: create`);
    }
  }

  /**
   * Holds back new calls until those under way have ended, lets `handOver` move what is needed from the predecessor to the successor, then puts the
   * successor in charge. When `handOver` throws, the predecessor stays and the successor is closed.
   */
  async replace(
    successor: Activation<SlotProviders[S]>,
    handOver: (from: Activation<SlotProviders[S]> | undefined) => Promise<void>,
  ): Promise<void> {
    let open = () => {};
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    try {
      await this.#quiet();
      const predecessor = this.#active;
      await handOver(predecessor);
      this.#cancelRestart();
      if (predecessor) await this.#options.hooks.deactivated(predecessor);
      this.#active = successor;
      this.#spec = successor.spec;
      this.#attempt = 0;
      await this.#options.hooks.activated(successor);
      this.#settle();
      if (predecessor) await this.#dispose(predecessor);
    } catch (error) {
      if (this.#active !== successor) await this.#dispose(successor);
      else await this.#fail(error);
      throw error;
    } finally {
      this.#gate = undefined;
      open();
    }
  }

  /** Takes the provider out of use. What it runs goes on running. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRestart();
    const active = this.#active;
    this.#active = undefined;
    this.#state = 'stopped';
    if (!active) return;
    await this.#options.hooks.deactivated(active);
    await this.#dispose(active);
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
    if (active && now - this.#soundSince >= this.#limits.soundAfterMs) this.#attempt = 0;
    this.#attempt++;
    const failure = asCloudosError(error, 'PLUGIN_FAILED');
    this.#failure = this.#stamp(failure, active);
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
    if (active) {
      await this.#options.hooks.deactivated(active);
      await this.#dispose(active);
    }
    if (again && !this.#closed) this.#cancelRestart = clock.after(delayMs, () => void this.start());
  }

  async #dispose(activation: Activation<SlotProviders[S]>): Promise<void> {
    await activation.scope.close().catch((error) => this.#options.logger.warn(`${this.label}: ${error}`));
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
