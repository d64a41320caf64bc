import path from 'node:path';
import { type PluginSpec, Slot, type SlotHooks, type SlotLimits } from '@cloudos/plugin-bus';
import type { Clock, IdSource, KernelAccess, Logger, SlotName, SlotProviders } from '@cloudos/sdk';
import { type KernelHistory, type KernelJournal, placeOf } from './kernel-journal.ts';

/** The directory of a plugin's own under the state directory. */
export function pluginDataDir(stateDir: string, plugin: string, node?: string): string {
  return node === undefined ? path.join(stateDir, plugin) : path.join(stateDir, 'nodes', node, plugin);
}

export interface SlotFactoryOptions {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger: Logger;
  readonly limits?: Partial<SlotLimits> | undefined;
}

/** Makes the slots of a stack: what comes and goes in them is recorded. */
export class SlotFactory {
  readonly #options: SlotFactoryOptions;
  readonly #journal: KernelJournal;
  readonly #history: KernelHistory;
  readonly #slots: { view: Slot<SlotName>['view'] }[] = [];

  constructor(options: SlotFactoryOptions, journal: KernelJournal, history: KernelHistory) {
    this.#options = options;
    this.#journal = journal;
    this.#history = history;
  }

  make<S extends SlotName>(
    name: S,
    spec: PluginSpec,
    hooks: SlotHooks<SlotProviders[S]>,
    node?: string,
    kernel?: KernelAccess,
  ): Slot<S> {
    const { stateDir, clock, newId, logger, limits } = this.#options;
    const slot = new Slot<S>(spec, {
      slot: name,
      clock,
      newId,
      logger,
      stateDir,
      dataDir: (plugin) => pluginDataDir(stateDir, plugin, node),
      generation: this.#history.generations.get(placeOf(name, node)) ?? 0,
      hooks: {
        activated: async (activation) => {
          await hooks.activated(activation);
          this.#journal.activated(name, node, activation);
        },
        deactivated: (activation) => hooks.deactivated(activation),
        failed: (failure) => {
          this.#journal.failed(failure);
          hooks.failed(failure);
        },
      },
      ...(node !== undefined && { node }),
      ...(kernel && { kernel }),
      ...(limits && { limits }),
    });
    this.#slots.push(slot);
    return slot;
  }

  /** Every slot made so far, as it is now. */
  views(): ReturnType<Slot<SlotName>['view']>[] {
    return this.#slots.map((slot) => slot.view());
  }
}
