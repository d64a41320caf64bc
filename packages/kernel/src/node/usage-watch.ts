import { type Clock, event, type GuestStats, type NewEvent } from '@cloudos/sdk';
import { UsageEstimator, type UsageTimes } from './usage-estimator.ts';

/** Time between two looks at what guests use. */
export const usageSampleMs = 10_000;

export interface UsageWatchOptions {
  readonly node: string;
  readonly clock: Clock;
  /** Whether the resource manager in charge asks for estimates: asked at each look. */
  readonly asked: () => boolean;
  /** The guests that run, and how to ask for what they use. */
  readonly guests: () => Iterable<{ readonly instance: string; readonly stats: () => Promise<GuestStats> }>;
  readonly record: (events: readonly NewEvent[]) => Promise<unknown>;
  /** A look failed: the next is taken all the same. */
  readonly onFailure: (error: unknown) => void;
  /** Other times than the usual ones. */
  readonly times?: UsageTimes & { readonly usageSampleMs: number };
}

/**
 * Tells the log what the guests of a node are expected to need, while a resource manager asks for it. Samples stay in
 * memory: recorded is an estimate only, when it has changed by much.
 */
export class UsageWatch {
  readonly #options: UsageWatchOptions;
  readonly #estimators = new Map<string, UsageEstimator>();
  #cancel: () => void = () => {};
  #waiting = false;
  #stopped = false;

  constructor(options: UsageWatchOptions) {
    this.#options = options;
  }

  /** Something has happened to a guest: looks are taken from now on, if they are asked for. */
  wake(): void {
    const { clock, onFailure, asked, times } = this.#options;
    if (this.#waiting || this.#stopped || !asked()) return;
    this.#waiting = true;
    this.#cancel = clock.after(times?.usageSampleMs ?? usageSampleMs, () => {
      void this.look()
        .catch(onFailure)
        .then(() => {
          this.#waiting = false;
          this.wake();
        });
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  /** One look at every guest that runs. A guest that cannot be asked is passed over. */
  async look(): Promise<void> {
    const { node, clock, asked, guests, record } = this.#options;
    if (!asked()) return this.#estimators.clear();
    const events: NewEvent[] = [];
    const seen = new Set<string>();
    for (const { instance, stats } of guests()) {
      seen.add(instance);
      const given = await stats().catch(() => undefined);
      if (!given || this.#stopped) continue;
      const estimate = this.#estimatorOf(instance).sample(given, clock.now());
      const usage = estimate && { ...estimate, diskBytes: 0, pids: given.pids ?? 0 };
      if (usage) events.push(event('GuestUsageEstimated', { instance, node, usage }));
    }
    for (const instance of this.#estimators.keys()) if (!seen.has(instance)) this.#estimators.delete(instance);
    if (events.length > 0 && !this.#stopped) await record(events);
  }

  #estimatorOf(instance: string): UsageEstimator {
    let estimator = this.#estimators.get(instance);
    if (!estimator) {
      estimator = new UsageEstimator(this.#options.clock.now(), this.#options.times);
      this.#estimators.set(instance, estimator);
    }
    return estimator;
  }
}
