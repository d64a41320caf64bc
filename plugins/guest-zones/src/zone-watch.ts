import { type FSWatcher, watch } from 'node:fs';
import { Wakeups } from '@cloudos/host-tools';
import type { Clock, GuestExit, Logger } from '@cloudos/sdk';
import { messageOf } from '@cloudos/sdk';
import { Subject } from 'rxjs';
import type { ZoneEnvironment } from './zone-launcher.ts';
import { viewZone } from './zone-view.ts';

/** How often a wait looks by itself, should no change be announced. */
const waitPollMs = 100;

/**
 * Notices how zones end: a shim moves its record into one directory, which is watched. All zones are also looked at
 * every `pollMs`, for ends without a record.
 */
export class ZoneWatch {
  readonly #exits = new Subject<GuestExit>();
  readonly exits = this.#exits.asObservable();
  readonly #reported = new Map<string, string>();
  readonly #wakeups = new Wakeups();
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #pollMs: number;
  #environment: ZoneEnvironment | undefined;
  #watcher: FSWatcher | undefined;
  #cancelPoll: () => void = () => {};
  /** Called for each end, also for those before the watch began. */
  onEnded: (environment: ZoneEnvironment, zone: string) => Promise<void> = async () => {};

  constructor(clock: Clock, logger: Logger, pollMs: number) {
    this.#clock = clock;
    this.#logger = logger;
    this.#pollMs = pollMs;
  }

  /** Begins to watch. What has ended before is not reported: `list` shows it. */
  async begin(environment: ZoneEnvironment): Promise<void> {
    this.end();
    this.#environment = environment;
    this.#watcher = watch(environment.store.exitsDir, { persistent: false }, (_, name) => {
      if (name) this.#look(environment, String(name));
    });
    this.#watcher.on('error', () => {});
    for (const zone of await environment.store.zones()) {
      const view = viewZone(environment.store, zone);
      if (view?.phase === 'exited' && view.state.launch) {
        this.#reported.set(zone, view.state.launch);
        this.#tidy(environment, zone);
      }
    }
    this.#poll(environment);
  }

  end(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#environment = undefined;
    this.#cancelPoll();
  }

  /** Looks at a zone at once. */
  look(environment: ZoneEnvironment, zone: string): void {
    this.#look(environment, zone);
  }

  /** The exit of that launch as soon as it is there; undefined after that time. */
  async ended(
    environment: ZoneEnvironment,
    zone: string,
    launch: string,
    timeoutMs: number,
  ): Promise<GuestExit | undefined> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      this.#look(environment, zone);
      const view = viewZone(environment.store, zone);
      if (view?.state.launch !== launch) return undefined;
      if (view.phase === 'exited') return view.exit;
      const left = deadline - Date.now();
      if (left <= 0) return undefined;
      await this.#wakeups.next(zone, Math.min(left, waitPollMs));
    }
  }

  #look(environment: ZoneEnvironment, zone: string): void {
    const view = viewZone(environment.store, zone);
    if (view?.phase !== 'exited' || !view.exit || !view.state.launch) return;
    if (this.#reported.get(zone) !== view.state.launch) {
      this.#reported.set(zone, view.state.launch);
      this.#exits.next(view.exit);
      this.#tidy(environment, zone);
    }
    this.#wakeups.wake(zone);
  }

  #tidy(environment: ZoneEnvironment, zone: string): void {
    this.onEnded(environment, zone).catch((error: unknown) =>
      this.#logger.warn(`zone ${zone}: ${messageOf(error)}`, { zone }),
    );
  }

  #poll(environment: ZoneEnvironment): void {
    this.#cancelPoll = this.#clock.after(this.#pollMs, async () => {
      if (this.#environment !== environment) return;
      const zones = await environment.store.zones();
      for (const zone of zones) {
        const view = viewZone(environment.store, zone);
        if (view?.phase === 'ended-unseen' && view.state.launch) {
          await environment.store.writeLost(zone, view.state.launch).catch(() => {});
        }
        this.#look(environment, zone);
      }
      const known = new Set(zones);
      for (const zone of [...this.#reported.keys()]) if (!known.has(zone)) this.#reported.delete(zone);
      if (this.#environment === environment) this.#poll(environment);
    });
  }
}
