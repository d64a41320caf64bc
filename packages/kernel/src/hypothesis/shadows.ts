import type { PluginSource } from '@cloudos/plugin-bus';
import {
  type Clock,
  CloudosError,
  type EventLog,
  type IdSource,
  type Logger,
  messageOf,
  type ShadowRequest,
  type ShadowView,
} from '@cloudos/sdk';
import { Shadow } from './shadow.ts';

/** Shadows at once: each costs about what the resource manager in charge costs. */
export const shadowsMax = 4;

export interface ShadowsOptions {
  readonly plugins: PluginSource;
  readonly log: EventLog;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger: Logger;
  readonly dataDir: (plugin: string) => string;
  readonly deadlineMs: number;
  /** The plugin in charge of `resources`. */
  readonly inCharge: () => string;
}

/** The shadows of a kernel. They live in its memory alone: a restart begins without any. */
export class Shadows {
  readonly #options: ShadowsOptions;
  readonly #shadows = new Map<string, Shadow>();
  readonly #starting = new Set<string>();

  constructor(options: ShadowsOptions) {
    this.#options = options;
  }

  /**
   * Starts a shadow; one of the same plugin that failed is replaced.
   * @throws CloudosError SHADOW_EXISTS, SHADOWS_EXCEEDED, or why the plugin cannot be loaded or begin
   */
  async start({ plugin: reference, config }: ShadowRequest): Promise<ShadowView> {
    const { plugins, inCharge, dataDir, ...rest } = this.#options;
    const plugin = await plugins.load(reference);
    const { name } = plugin.definition;
    const before = this.#shadows.get(name);
    if (this.#starting.has(name) || before?.view().state === 'running') {
      throw new CloudosError('SHADOW_EXISTS', `a shadow of ${name} runs already`);
    }
    if (this.#shadows.size + this.#starting.size - (before ? 1 : 0) >= shadowsMax) {
      throw new CloudosError(
        'SHADOWS_EXCEEDED',
        `${shadowsMax} shadows run already: ${[...this.#shadows.keys()].join(', ')}`,
      );
    }
    this.#starting.add(name);
    try {
      await before?.stop();
      this.#shadows.delete(name);
      const beside = inCharge();
      const shadow = new Shadow({ ...rest, plugin, config: config ?? {}, beside, dataDir: dataDir(name) });
      await shadow.start();
      this.#shadows.set(name, shadow);
      return shadow.view();
    } finally {
      this.#starting.delete(name);
    }
  }

  views(): ShadowView[] {
    return [...this.#shadows.values()].map((shadow) => shadow.view());
  }

  /** Ends a shadow and returns its last view. @throws CloudosError SHADOW_NOT_FOUND */
  async stop(name: string): Promise<ShadowView> {
    const shadow = this.#shadows.get(name);
    if (!shadow) {
      const there = [...this.#shadows.keys()].join(', ') || 'none';
      throw new CloudosError('SHADOW_NOT_FOUND', `no shadow of ${name} runs; there are: ${there}`);
    }
    this.#shadows.delete(name);
    const last = shadow.view();
    await shadow.stop();
    return last;
  }

  async stopAll(): Promise<void> {
    for (const name of [...this.#shadows.keys()]) {
      await this.stop(name).catch((error) => this.#options.logger.warn(`shadow of ${name}: ${messageOf(error)}`));
    }
  }
}
