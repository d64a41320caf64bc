import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, CloudosError, delay, type GuestHealth, type Logger, messageOf } from '@cloudos/sdk';
import { Observable, Subject } from 'rxjs';
import { QmpClient } from './qmp.ts';
import type { Vm } from './vm-flavour.ts';
import { machineDir, type VmStore } from './vm-state.ts';
import type { VmEnvironment } from './vm-view.ts';

/** Free bytes with which a machine goes on that was held for want of them. */
const roomMinBytes = 16 * 2 ** 20;
/** Between two tries to let it go on: doubled each time, the least again once it has run for `steadyMs`. */
const retryMinMs = 1_000;
const retryMaxMs = 30_000;
const steadyMs = 60_000;
/** It has gone on when it still runs after that time. */
const settledMs = 1_000;
const connectMaxMs = 500;

/** A second monitor of QEMU's, for one listener that stays: the first is held no longer than a command takes. */
export const eventsMonitor = [
  ...['-chardev', 'socket,id=events,path=events,server=on,wait=off'],
  ...['-mon', 'chardev=events,mode=control'],
];

/**
 * Which machines can go on. When the file system of a disk is full, QEMU stops the machine before the write that failed
 * (`werror=enospc`, its default; the run state is `io-error`), so that the guest sees no error. Here that is noticed as it
 * happens, told, and undone when there is room again: looked for with a growing pause, never more often than every second.
 */
export class VmHealth {
  /** What is known, at once; then what changes. */
  readonly changes: Observable<GuestHealth>;
  readonly #changed = new Subject<GuestHealth>();
  readonly #machines = new Map<string, WatchedMachine>();
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
    this.changes = new Observable((subscriber) => {
      for (const { health } of this.#machines.values()) if (health) subscriber.next(health);
      return this.#changed.subscribe(subscriber);
    });
  }

  /** Watches that run of a machine, as long as it lasts. One without a monitor for it is not watched. */
  watch({ store }: Pick<VmEnvironment, 'store'>, vm: Vm): void {
    const known = this.#machines.get(vm.name);
    if (known?.launch === vm.state.launch) return;
    known?.close();
    this.#machines.delete(vm.name);
    if (!existsSync(join(vm.directory, machineDir, 'events'))) return;
    const machine = new WatchedMachine(vm, store, this.#clock, (health) => {
      if (!health.ok) this.#logger.warn(`${health.instance}: ${health.reason}`);
      this.#changed.next(health);
    });
    this.#machines.set(vm.name, machine);
    machine.listen().catch((error: unknown) => this.#logger.warn(`${vm.name}: ${messageOf(error)}`));
  }

  /** Why the machine cannot go on; undefined when it can, for all that is known. */
  obstacle(name: string): (GuestHealth & { ok: false }) | undefined {
    const health = this.#machines.get(name)?.health;
    return health?.ok === false ? health : undefined;
  }

  /** @throws CloudosError DISK_FULL where the machine cannot go on for want of it */
  check(name: string): void {
    const { reason, remedy } = this.obstacle(name) ?? {};
    if (reason !== undefined) throw new CloudosError('DISK_FULL', reason, { ...(remedy && { remedy }) });
  }

  /** Its run is over. */
  forget(name: string): void {
    this.#machines.get(name)?.close();
    this.#machines.delete(name);
  }

  close(): void {
    for (const name of [...this.#machines.keys()]) this.forget(name);
  }
}

/** One run of one machine, followed on a connection of its own. */
class WatchedMachine {
  health: GuestHealth | undefined;
  readonly launch: string | undefined;
  readonly #vm: Vm;
  readonly #store: VmStore;
  readonly #clock: Clock;
  readonly #report: (health: GuestHealth) => void;
  readonly #over = new AbortController();
  #qmp: QmpClient | undefined;
  #retryMs = retryMinMs;
  #wentOnAt = Number.NEGATIVE_INFINITY;
  /** What comes next: a try to let it go on, or the verdict on one. */
  #next: { readonly step: 'try' | 'verdict'; readonly cancel: () => void } | undefined;

  constructor(vm: Vm, store: VmStore, clock: Clock, report: (health: GuestHealth) => void) {
    this.launch = vm.state.launch;
    this.#vm = vm;
    this.#store = store;
    this.#clock = clock;
    this.#report = report;
  }

  /** Follows the machine until it is closed. Another driver may hold the monitor first. */
  async listen(): Promise<void> {
    const path = join(this.#vm.directory, machineDir, 'events');
    for (let pauseMs = retryMinMs; !this.#over.signal.aborted; pauseMs = Math.min(pauseMs * 2, retryMaxMs)) {
      const qmp = await QmpClient.connect(path, { timeoutMs: connectMaxMs }).catch(() => undefined);
      if (qmp && !this.#over.signal.aborted) await this.#follow(qmp);
      qmp?.close();
      await delay(this.#clock, pauseMs, this.#over.signal);
    }
  }

  close(): void {
    this.#over.abort();
    this.#next?.cancel();
    this.#qmp?.close();
  }

  async #follow(qmp: QmpClient): Promise<void> {
    this.#qmp = qmp;
    const gone = new Promise<void>((complete) => {
      qmp.events.subscribe({ next: ({ event }) => void this.#noticed(qmp, event), complete });
    });
    await this.#look(qmp);
    await gone;
    this.#qmp = undefined;
  }

  async #noticed(qmp: QmpClient, event: string): Promise<void> {
    if (event === 'STOP' || event === 'RESUME') await this.#look(qmp);
  }

  async #look(qmp: QmpClient): Promise<void> {
    const { status } = await qmp.execute<{ status: string }>('query-status').catch(() => ({ status: 'gone' }));
    if (this.#over.signal.aborted) return;
    if (status === 'io-error') this.#held(qmp);
    else if (status === 'running' && this.health?.ok === false) this.#then('verdict', settledMs, () => this.#wentOn());
    else if (status === 'running' && !this.health) this.#tell({ ...this.#about, ok: true });
  }

  /** It stands still for want of room: told once, tried again from time to time. */
  #held(qmp: QmpClient): void {
    if (this.health?.ok !== false) {
      if (this.#clock.now() - this.#wentOnAt > steadyMs) this.#retryMs = retryMinMs;
      this.#tell({ ...this.#about, ok: false, code: 'DISK_FULL', ...fullDisk(this.#store.guestsDir) });
    }
    if (this.#next?.step === 'try') return;
    this.#then('try', this.#retryMs, () => void this.#try(qmp));
    this.#retryMs = Math.min(this.#retryMs * 2, retryMaxMs);
  }

  /** What comes of it is an event: it goes on, or stands still again. */
  async #try(qmp: QmpClient): Promise<void> {
    const { name, directory } = this.#vm;
    const room = await statfs(directory).then(({ bavail, bsize }) => bavail * bsize);
    const paused = (await this.#store.state(name))?.paused === true;
    const tried =
      room >= roomMinBytes &&
      !paused &&
      (await qmp.execute('cont').then(
        () => true,
        () => false,
      ));
    if (!tried && !this.#over.signal.aborted) this.#held(qmp);
  }

  #wentOn(): void {
    this.#wentOnAt = this.#clock.now();
    this.#tell({ ...this.#about, ok: true });
  }

  #then(step: 'try' | 'verdict', afterMs: number, action: () => void): void {
    this.#next?.cancel();
    const cancel = this.#clock.after(afterMs, () => {
      this.#next = undefined;
      action();
    });
    this.#next = { step, cancel };
  }

  get #about(): { instance: string; attempt: number } {
    const { spec, attempt } = this.#vm.state;
    return { instance: spec.instance, attempt };
  }

  #tell(health: GuestHealth): void {
    this.health = health;
    this.#report(health);
  }
}

function fullDisk(path: string): { reason: string; remedy: string } {
  return {
    reason: `the machine is held (I/O error): there is no space left for its disk at ${path}`,
    remedy: `free space there: it goes on by itself when there are ${roomMinBytes / 2 ** 20} MiB`,
  };
}
