import { type Clock, delay, type GuestTemplate, type Probe, type ProbeResult } from '@cloudos/sdk';

export type ProbeKind = 'readiness' | 'liveness' | 'startup';

export interface ProberOptions {
  readonly template: Pick<GuestTemplate, ProbeKind>;
  readonly clock: Clock;
  /** Carries out one probe; undefined when that was not possible, which says nothing about the guest. */
  readonly check: (probe: Probe) => Promise<ProbeResult | undefined>;
  /** A verdict has changed. */
  readonly report: (kind: ProbeKind, healthy: boolean, message: string) => void;
  /** What the log says of a guest that was adopted. */
  readonly ready?: boolean;
  readonly startedUp?: boolean;
}

/**
 * Probes one run of a guest as the kubelet does: the startup probe first; once it has succeeded, readiness and
 * liveness. A verdict changes after as many equal results in a row as its threshold says.
 */
export class Prober {
  readonly #options: ProberOptions;
  readonly #stopping = new AbortController();
  #held = false;
  /** How often it was held: a watch that has slept through one takes note of it. */
  #holds = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** The guest is held by its runtime: it is not ready, which the caller reports, and answers nothing. */
  hold(): void {
    this.#held = true;
    this.#holds += 1;
  }

  /** It goes on, and is ready again when its readiness probe says so. */
  release(): void {
    this.#held = false;
  }

  async #run(): Promise<void> {
    const { startup, readiness, liveness } = this.#options.template;
    if (startup && !this.#options.ready && !this.#options.startedUp)
      await this.#watch('startup', startup, undefined, true);
    if (readiness) void this.#watch('readiness', readiness, this.#options.ready || undefined, false);
    if (liveness) void this.#watch('liveness', liveness, true, false);
  }

  async #watch(kind: ProbeKind, probe: Probe, known: boolean | undefined, untilHealthy: boolean): Promise<void> {
    const { clock, check, report } = this.#options;
    const { signal } = this.#stopping;
    let verdict = known;
    let streak = 0;
    let last: boolean | undefined;
    let holds = this.#holds;
    if (probe.initialDelayMs > 0) await delay(clock, probe.initialDelayMs, signal);
    while (!signal.aborted) {
      const asked = this.#holds;
      const result = this.#held ? undefined : await check(probe);
      if (signal.aborted) return;
      if (holds !== this.#holds) {
        holds = this.#holds;
        last = undefined;
        if (kind === 'readiness') verdict = false;
      }
      if (!result || this.#held || asked !== holds) {
        await delay(clock, probe.periodMs, signal);
        continue;
      }
      streak = result.ok === last ? streak + 1 : 1;
      last = result.ok;
      const threshold = result.ok ? probe.successThreshold : probe.failureThreshold;
      if (streak >= threshold && result.ok !== verdict) {
        verdict = result.ok;
        report(kind, verdict, result.message);
        if (verdict && untilHealthy) return;
      }
      await delay(clock, probe.periodMs, signal);
    }
  }
}
