import { Wakeups } from '@cloudos/host-tools';
import type { Clock, GuestExit, Logger } from '@cloudos/sdk';
import { messageOf } from '@cloudos/sdk';
import { Subject } from 'rxjs';
import { ContainerWatch } from './container-watch.ts';
import { type VmEnvironment, type VmView, viewVm } from './vm-view.ts';

/** How often a wait looks by itself, should no change be announced. */
const waitPollMs = 100;

/** Notices how machines end: the carrier announces ends, and all are looked at every `pollMs`. */
export class VmWatch {
  readonly #exits = new Subject<GuestExit>();
  readonly exits = this.#exits.asObservable();
  readonly containers = new ContainerWatch();
  readonly #reported = new Map<string, string>();
  readonly #wakeups = new Wakeups();
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #pollMs: number;
  #environment: VmEnvironment | undefined;
  #stop: () => void = () => {};
  #cancelPoll: () => void = () => {};
  /** Called for each end, also for those before the watch began. */
  onEnded: (environment: VmEnvironment, name: string) => Promise<void> = async () => {};

  constructor(clock: Clock, logger: Logger, pollMs: number) {
    this.#clock = clock;
    this.#logger = logger;
    this.#pollMs = pollMs;
  }

  /** Begins to watch. What has ended before is not reported: `list` shows it. */
  async begin(environment: VmEnvironment): Promise<void> {
    this.end();
    this.#environment = environment;
    for (const name of await environment.store.names()) {
      const view = await this.#view(environment, name);
      if (view?.phase !== 'exited' || !view.state.launch) continue;
      this.#reported.set(name, view.state.launch);
      this.#tidy(environment, name);
    }
    this.#stop = environment.carrier.watch((name) => this.look(environment, name));
    this.#poll(environment);
  }

  end(): void {
    this.containers.forgetAll();
    this.#stop();
    this.#stop = () => {};
    this.#environment = undefined;
    this.#cancelPoll();
  }

  /** Looks at a machine now. */
  look(environment: VmEnvironment, name: string): void {
    this.#look(environment, name).catch((error: unknown) => this.#logger.warn(`${name}: ${messageOf(error)}`));
  }

  /** The exit of that launch as soon as it is there; undefined after that time. */
  async ended(
    environment: VmEnvironment,
    name: string,
    launch: string,
    timeoutMs: number,
  ): Promise<GuestExit | undefined> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const change = this.#wakeups.next(name, Math.min(Math.max(1, deadline - Date.now()), waitPollMs));
      await this.#look(environment, name);
      const view = await viewVm(environment, name);
      if (view?.state.launch !== launch) return undefined;
      if (view.phase === 'exited') return view.exit;
      if (Date.now() >= deadline) return undefined;
      await change;
    }
  }

  /** Containers are followed as long as their machine runs. */
  async #view(environment: VmEnvironment, name: string): Promise<VmView | undefined> {
    const view = await viewVm(environment, name);
    if (view?.phase !== 'running') this.containers.forget(name);
    else if (this.#environment === environment) this.containers.follow(view);
    return view;
  }

  async #look(environment: VmEnvironment, name: string): Promise<void> {
    const view = await this.#view(environment, name);
    if (view?.phase !== 'exited' || !view.exit || !view.state.launch) return;
    if (this.#reported.get(name) !== view.state.launch) {
      this.#reported.set(name, view.state.launch);
      this.#exits.next(view.exit);
      this.#tidy(environment, name);
    }
    this.#wakeups.wake(name);
  }

  #tidy(environment: VmEnvironment, name: string): void {
    this.onEnded(environment, name).catch((error: unknown) => this.#logger.warn(`${name}: ${messageOf(error)}`));
  }

  #poll(environment: VmEnvironment): void {
    this.#cancelPoll = this.#clock.after(this.#pollMs, async () => {
      if (this.#environment !== environment) return;
      const names = await environment.store.names();
      for (const name of names) this.look(environment, name);
      const known = new Set(names);
      for (const name of [...this.#reported.keys()]) if (!known.has(name)) this.#reported.delete(name);
      if (this.#environment === environment) this.#poll(environment);
    });
  }
}
