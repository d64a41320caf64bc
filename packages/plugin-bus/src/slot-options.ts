import type { Clock, CloudosError, IdSource, KernelAccess, Logger, Scope, SlotName, SlotProviders } from '@cloudos/sdk';
import type { LoadedPlugin } from './plugin-loader.ts';

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

/** What a provider has told of itself through its context. */
export interface Health<P> {
  activation?: Activation<P>;
  failure?: CloudosError;
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
  readonly stateDir: string;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger: Logger;
  readonly hooks: SlotHooks<SlotProviders[S]>;
  readonly limits?: Partial<SlotLimits>;
  /** What plugins of the `api` slot are given of the kernel. */
  readonly kernel?: KernelAccess;
  /** Generation of the last activation that the log knows of. */
  readonly generation?: number;
}
