import {
  type Clock,
  event,
  type GuestContainerChange,
  type GuestContainerStatus,
  type GuestDriver,
  type GuestHealth,
  type GuestTemplate,
  type Logger,
  type NewEvent,
  type Probe,
  type ProbeResult,
} from '@cloudos/sdk';
import type { InstanceRecord } from '../cluster/cluster-state.ts';
import { healthEvents } from './adoption.ts';
import type { GuestRuntime } from './guest-runtime.ts';
import { PodWatch } from './pod-watch.ts';
import { checkProbe } from './probe-check.ts';
import { type ProbeKind, Prober } from './prober.ts';

/** A driver gets that much more than the grace to stop something before its slot counts as hanging. */
export const stopMarginMs = 30_000;

export interface GuestWatchOptions {
  readonly instance: string;
  readonly node: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly runtime: () => GuestRuntime | undefined;
  /** What the log says of the instance, if it is placed on this node. */
  readonly record: () => InstanceRecord | undefined;
  readonly tell: (entry: NewEvent) => void;
}

type Known = Pick<InstanceRecord, 'ready' | 'startedUp' | 'containers'>;
type Report = (kind: ProbeKind, healthy: boolean, reason: string) => void;

const fresh: Known = { ready: false, startedUp: false };

/** Watches how one guest does, run after run: by its probes, by its containers, by what its runtime tells. */
export class GuestWatch {
  readonly #options: GuestWatchOptions;
  #prober: Prober | undefined;
  #pod: PodWatch | undefined;
  /** The run that is watched; 0: none. */
  #attempt = 0;
  /** Its runtime holds the guest. */
  #held: (GuestHealth & { ok: false }) | undefined;
  /** The last change of each container that was told before its run was watched. */
  readonly #early = new Map<string, GuestContainerChange>();

  constructor(options: GuestWatchOptions) {
    this.#options = options;
  }

  /**
   * Watches a run.
   * @param containers those beside the first, as the driver has told of them with the guest
   * @param known what the log says of a run that was adopted
   */
  begin(
    template: GuestTemplate | undefined,
    attempt: number,
    containers: readonly GuestContainerStatus[] = [],
    known: Known = fresh,
  ): void {
    this.stop();
    this.#attempt = attempt;
    if (template) this.#probe(template, containers, known);
    this.#early.clear();
  }

  /** A run is about to begin: what was told of containers before is of another. */
  expect(): void {
    this.#early.clear();
  }

  stop(): void {
    this.#prober?.stop();
    this.#pod?.stop();
    this.#prober = undefined;
    this.#pod = undefined;
    this.#attempt = 0;
  }

  /** The run has ended. */
  ended(): void {
    this.#held = undefined;
    this.stop();
  }

  /** The driver tells whether the guest can go on. */
  healthTold(health: GuestHealth): void {
    // Of a run that is not watched yet: it is looked at then.
    this.#held = health.ok ? undefined : health;
    if (health.attempt === this.#attempt) this.#heed(health);
  }

  /** Takes note of what was told before the start of that run was recorded. */
  heedEarly(attempt: number): void {
    if (this.#held?.attempt === attempt) this.#heed(this.#held);
  }

  #heed(health: GuestHealth): void {
    const record = this.#options.record();
    if (record?.wanted !== 'run') return;
    for (const entry of healthEvents(this.#options.node, record, health)) this.#options.tell(entry);
    for (const watch of [this.#prober, this.#pod]) health.ok ? watch?.release() : watch?.hold();
  }

  /** The driver tells of a container beside the first. */
  containerChanged(change: GuestContainerChange): void {
    if (this.#attempt === 0) this.#early.set(change.name, change);
    else if (change.attempt === this.#attempt) this.#pod?.changed(change);
  }

  #probe(template: GuestTemplate, containers: readonly GuestContainerStatus[], known: Known): void {
    const { instance, node, clock, tell } = this.#options;
    const attempt = this.#attempt;
    const report: Report = (probe, healthy, reason) => {
      const about = { instance, node, attempt, probe };
      tell(healthy ? event('GuestHealthy', about) : event('GuestUnhealthy', { ...about, reason }));
    };
    const pod = template.containers?.length ? this.#watchPod(template, known, report) : undefined;
    if (template.readiness || template.liveness || template.startup) {
      this.#prober = new Prober({
        template,
        clock,
        ready: known.ready,
        startedUp: known.startedUp,
        check: (probe) => this.#check(probe),
        report: (kind, healthy, reason) => (pod ? pod.first(kind, healthy, reason) : report(kind, healthy, reason)),
      });
      if (this.#held) this.#prober.hold();
      this.#prober.start();
    }
    if (!pod) return;
    pod.start();
    for (const status of containers) pod.changed(status);
    for (const change of this.#early.values()) if (change.attempt === attempt) pod.changed(change);
  }

  async #check(probe: Probe, container?: string): Promise<ProbeResult | undefined> {
    const { instance, clock, record } = this.#options;
    const runtime = this.#options.runtime();
    if (!runtime) return undefined;
    const address = record()?.address;
    return checkProbe(clock, { instance, runtime, address, ...(container === undefined ? {} : { container }) }, probe);
  }

  #watchPod(template: GuestTemplate, known: Known, report: Report): PodWatch {
    const { instance, node, clock, logger, runtime, tell } = this.#options;
    const graceMs = template.stopGraceMs;
    this.#pod = new PodWatch({
      about: { instance, node },
      attempt: this.#attempt,
      template,
      clock,
      ready: known.ready,
      known: known.containers ?? {},
      check: (container, probe) => this.#check(probe, container),
      end: async (container) => {
        const end = async (driver: GuestDriver) => driver.endContainer?.(instance, container, graceMs);
        await runtime()?.slot.call('endContainer', end, graceMs + stopMarginMs);
      },
      report,
      record: tell,
      warn: (message) => logger.warn(`${node}: ${instance}: ${message}`),
    });
    if (this.#held) this.#pod.hold();
    return this.#pod;
  }
}
