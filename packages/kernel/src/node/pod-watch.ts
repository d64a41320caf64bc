import {
  type Clock,
  event,
  type GuestContainer,
  type GuestContainerStatus,
  type GuestTemplate,
  messageOf,
  type NewEvent,
  type Probe,
  type ProbeResult,
} from '@cloudos/sdk';
import type { ContainerRecord } from '../cluster/container-record.ts';
import { type ProbeKind, Prober } from './prober.ts';

export interface PodWatchOptions {
  readonly about: { readonly instance: string; readonly node: string };
  /** Which run of the guest. */
  readonly attempt: number;
  readonly template: GuestTemplate;
  readonly clock: Clock;
  /** What the log says of a guest that was adopted: ready, and its containers beside the first. */
  readonly ready: boolean;
  readonly known: Readonly<Record<string, Pick<ContainerRecord, 'running' | 'restarts'>>>;
  /** Carries out a probe of one container. */
  readonly check: (container: string, probe: Probe) => Promise<ProbeResult | undefined>;
  /** Ends the run of one container; whether it is run again is the runtime's to say. */
  readonly end: (container: string) => Promise<void>;
  /** A verdict on the guest has changed. */
  readonly report: (kind: ProbeKind, healthy: boolean, reason: string) => void;
  readonly record: (entry: NewEvent) => void;
  readonly warn: (message: string) => void;
}

interface Watched {
  readonly name: string;
  running: boolean;
  restarts: number;
  ready: boolean;
  prober: Prober | undefined;
  /** Why its run was ended from here. */
  blame: string | undefined;
}

/**
 * The containers of a guest beside its first, for one run of the guest: records that they end and are run again, probes
 * each of them, and ends one whose liveness or startup probe has failed, as the kubelet does. The guest is ready when
 * all of its containers run and the readiness probe of each that has one succeeds.
 */
export class PodWatch {
  readonly #options: PodWatchOptions;
  readonly #containers: readonly Watched[];
  /** Of the first container. */
  #first: boolean;
  #ready: boolean;
  #stopped = false;
  #held = false;

  constructor(options: PodWatchOptions) {
    this.#options = options;
    const { template, ready, known } = options;
    this.#ready = ready;
    this.#first = ready || (!template.readiness && !template.startup);
    this.#containers = (template.containers ?? []).map(({ name, readiness, startup }) => {
      const { running, restarts } = known[name] ?? { running: true, restarts: 0 };
      return {
        name,
        running,
        restarts,
        ready: running && (ready || (!readiness && !startup)),
        prober: undefined,
        blame: undefined,
      };
    });
  }

  start(): void {
    for (const container of this.#containers) if (container.running) this.#probe(container);
    this.#judge(`container ${this.#containers.find(({ running }) => !running)?.name} does not run`);
  }

  stop(): void {
    this.#stopped = true;
    for (const { prober } of this.#containers) prober?.stop();
  }

  /** The guest is held by its runtime: it is not ready, which the caller reports, and no container answers. */
  hold(): void {
    this.#held = true;
    this.#ready = false;
    if (this.#options.template.readiness) this.#first = false;
    for (const container of this.#containers) {
      container.prober?.hold();
      if (this.#probesOf(container.name)?.readiness) container.ready = false;
    }
  }

  /** It goes on, and is ready again when the readiness probes say so. */
  release(): void {
    this.#held = false;
    for (const { prober } of this.#containers) prober?.release();
    this.#judge('the guest goes on');
  }

  /** A verdict on the first container. */
  first(kind: ProbeKind, healthy: boolean, reason: string): void {
    if (kind === 'startup' && healthy && !this.#options.template.readiness) this.#first = true;
    if (kind === 'readiness') this.#first = healthy;
    else this.#options.report(kind, healthy, reason);
    this.#judge(reason);
  }

  /** What the driver tells of one container; what is known already changes nothing. */
  changed(status: GuestContainerStatus): void {
    const container = this.#containers.find(({ name }) => name === status.name);
    if (!container || this.#stopped) return;
    const running = status.state === 'running';
    // A run ends once: what is told of it after that was told before.
    const isNews =
      status.restarts > container.restarts || (status.restarts === container.restarts && container.running && !running);
    if (!isNews) return;
    container.prober?.stop();
    const { about, attempt, record } = this.#options;
    const missed = container.running || status.restarts > container.restarts + 1;
    if (!running || missed) record(containerExitedEvent({ ...about, attempt }, status, container.blame));
    container.running = running;
    container.restarts = status.restarts;
    container.blame = undefined;
    const probed = this.#probesOf(container.name);
    container.ready = running && !probed?.readiness && !probed?.startup;
    if (running) {
      const { name, restarts } = status;
      record(event('GuestContainerStarted', { ...about, attempt, container: name, restarts }));
      this.#probe(container);
    }
    this.#judge(running ? `container ${status.name} is not ready yet` : `container ${status.name} has ended`);
  }

  #probesOf(container: string): GuestContainer | undefined {
    return this.#options.template.containers?.find(({ name }) => name === container);
  }

  #probe(container: Watched): void {
    const template = this.#probesOf(container.name);
    if (!template?.readiness && !template?.liveness && !template?.startup) return;
    const { clock, check } = this.#options;
    container.prober = new Prober({
      template,
      clock,
      ready: container.ready,
      check: (probe) => check(container.name, probe),
      report: (kind, healthy, reason) => this.#verdict(container, kind, healthy, reason),
    });
    if (this.#held) container.prober.hold();
    container.prober.start();
  }

  #verdict(container: Watched, kind: ProbeKind, healthy: boolean, reason: string): void {
    const why = `container ${container.name}: ${kind} probe: ${reason}`;
    if (kind === 'readiness') container.ready = healthy;
    else if (!healthy) return this.#end(container, why);
    else if (kind === 'startup' && !this.#probesOf(container.name)?.readiness) container.ready = true;
    this.#judge(why);
  }

  /** It is told as an exit, with the reason that is kept here. */
  #end(container: Watched, why: string): void {
    const { end, warn } = this.#options;
    container.prober?.stop();
    container.blame = why;
    end(container.name).catch((error: unknown) => {
      if (this.#stopped || !container.running || container.blame !== why) return;
      warn(`${why}; it cannot be ended: ${messageOf(error)}`);
      container.blame = undefined;
      this.#probe(container);
    });
  }

  #judge(reason: string): void {
    const ready = !this.#held && this.#first && this.#containers.every((container) => container.ready);
    if (ready === this.#ready || this.#stopped) return;
    this.#ready = ready;
    this.#options.report('readiness', ready, reason);
  }
}

/** What is recorded of a container that has ended; one that runs again has ended before. */
export function containerExitedEvent(
  about: { readonly instance: string; readonly node: string; readonly attempt: number },
  { name, state, restarts, exit, backOffMs }: GuestContainerStatus,
  why?: string,
): NewEvent {
  const message = why ?? exit?.message;
  return event('GuestContainerExited', {
    ...about,
    container: name,
    restarts: state === 'running' ? restarts - 1 : restarts,
    exitCode: exit?.exitCode ?? null,
    signal: exit?.signal ?? null,
    reason: exit?.reason ?? 'lost',
    ...(message !== undefined && { message }),
    ...(state === 'waiting' && backOffMs !== undefined && { backOffMs }),
  });
}
