import type { GuestExit, GuestSpec } from '@cloudos/sdk';
import { type Observable, Subject } from 'rxjs';
import { InstanceLocks } from './instance-locks.ts';
import type { GuestRecords } from './records.ts';
import { Wakeups } from './wakeups.ts';

/** A record of a guest that runs once for each attempt. */
export interface LedgerEntry {
  readonly spec: GuestSpec;
  /** The last attempt that came to run; 0 before the first. */
  readonly attempt: number;
  /** How it ended, where that was seen. */
  readonly exit?: GuestExit;
}

/** How often a wait looks by itself, should nobody tell of a change. */
const pollMs = 500;

/**
 * Sees to it that each end of a guest is written down and told once, whoever notices it first: an event of the runtime, a
 * stop that waits for it, or a look after the runtime was away.
 */
export class ExitLedger<Entry extends LedgerEntry> {
  readonly #exits = new Subject<GuestExit>();
  readonly exits: Observable<GuestExit> = this.#exits.asObservable();
  /** One operation at a time on each guest. Whatever changes a record holds it. */
  readonly locks = new InstanceLocks();
  readonly #records: GuestRecords<Entry>;
  readonly #endOf: (entry: Entry) => Promise<GuestExit | undefined>;
  readonly #wakeups = new Wakeups();

  /** @param endOf how the last attempt ended; undefined while it runs */
  constructor(records: GuestRecords<Entry>, endOf: (entry: Entry) => Promise<GuestExit | undefined>) {
    this.#records = records;
    this.#endOf = endOf;
  }

  /** For whoever holds the lock: an end that is seen for the first time is written down, and told. */
  async settle(entry: Entry): Promise<Entry> {
    if (entry.attempt === 0 || entry.exit) return entry;
    const exit = await this.#endOf(entry);
    if (!exit) return entry;
    const ended = await this.#records.save({ ...entry, exit });
    this.#exits.next(exit);
    return ended;
  }

  /** Looks whether the guest has ended. To be called when the runtime says so, or was away. */
  async look(instance: string): Promise<void> {
    await this.locks.run(instance, async () => {
      const entry = this.#records.get(instance);
      if (entry) await this.settle(entry);
    });
    this.#wakeups.wake(instance);
  }

  /** {@link look} at every guest. */
  async lookAtAll(): Promise<void> {
    for (const { spec } of await this.#records.all()) await this.look(spec.instance);
  }

  /** The end of that attempt as soon as it is there; undefined after that time, or when there is another attempt by then. */
  async ended(instance: string, attempt: number, timeoutMs: number): Promise<GuestExit | undefined> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const entry = await this.locks.run(instance, async () => {
        const found = this.#records.get(instance);
        return found?.attempt === attempt ? this.settle(found) : undefined;
      });
      if (!entry || entry.exit) return entry?.exit;
      const left = deadline - Date.now();
      if (left <= 0) return undefined;
      await this.#wakeups.next(instance, Math.min(left, pollMs));
    }
  }

  close(): void {
    this.#exits.complete();
  }
}
