import type { z } from 'zod';
import type { Clock, IdSource } from './clock.ts';
import type { Logger } from './logger.ts';
import type { Scope } from './scope.ts';
import type { ApiContext } from './slots/api.ts';
import type { SlotName, SlotProviders } from './slots/index.ts';

/** The version of the contract between plugins and the kernel. A plugin made for another one is refused. */
export const apiVersion = 1;

/** What a plugin is given to work with. */
export interface PluginContext {
  /** Everything the plugin opens belongs here. It is closed when the plugin is replaced or the kernel stops. */
  readonly scope: Scope;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly newId: IdSource;
  /** Counts activations of the slot, from 1. */
  readonly generation: number;
  /** A directory of the plugin's own; made on first use by the plugin, mode 0700 where it holds secrets. */
  readonly dataDir: string;
  /**
   * The state directory of the kernel, shared by all plugins of the machine. What lies in it that is not a plugin's own:
   *
   * - `images/`: the image store (`@cloudos/images`)
   * - `network/<node>/`: the node's network for guests (`@cloudos/node-network`)
   * - `secrets/<ref>`: values of secrets, mode 0600, in directories of mode 0700
   */
  readonly stateDir: string;
  /** The node that a `host` or `guest` plugin serves. */
  readonly node?: { readonly id: string };
  /** Reports a failure that no call can report. The kernel takes the slot down and restarts it with backoff. */
  fail(error: unknown): void;
}

/** What plugins of a slot are given: those of `api` get the kernel besides. */
export type ContextOf<Slot extends SlotName> = Slot extends 'api' ? ApiContext : PluginContext;

/** What a plugin declares. */
export interface PluginDefinition<Slot extends SlotName = SlotName, Config = unknown> {
  /** Name within the slot, kebab-case: `<slot>-<technology>`. */
  readonly name: string;
  readonly slot: Slot;
  readonly apiVersion: number;
  readonly description: string;
  /** Slots (`log`) and host features (`host.cgroup`) that must be there. Never plugins. */
  readonly requires?: readonly string[];
  /** What the conformance suite may expect; what is false is tested to be refused. */
  readonly supports?: Readonly<Record<string, boolean>>;
  /** Schema of the configuration. A bad value is refused before anything starts. */
  readonly config: z.ZodType<Config>;
  /**
   * Settings, beside the default ones, with which the plugin may run on a machine where it cannot with those: whoever
   * examines a machine for it tries each of them too.
   */
  readonly alternatives?: readonly Readonly<Record<string, string>>[];
  create(context: ContextOf<Slot>, config: Config): SlotProviders[Slot] | Promise<SlotProviders[Slot]>;
}

/** Any plugin, whatever its slot: what a registry holds. */
export type AnyPlugin = { [Slot in SlotName]: PluginDefinition<Slot, unknown> }[SlotName];

/** Declares a plugin. The default export of its package. */
export function definePlugin<Slot extends SlotName, Config>(
  definition: PluginDefinition<Slot, Config>,
): PluginDefinition<Slot, Config> {
  return Object.freeze({ ...definition });
}
