import { type Activation, type Slot, type SlotHooks, withinDeadline } from '@cloudos/plugin-bus';
import type {
  Clock,
  GuestContainerChange,
  GuestDriver,
  GuestExit,
  GuestFingerprint,
  GuestHealth,
  GuestStatus,
} from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import { checkRequirements } from './requirements.ts';
import { same } from './same.ts';

/** What a node agent wants to know of its runtimes. */
export interface RuntimeOwner {
  readonly clock: Clock;
  /** A driver has come into charge; these are the guests it found. */
  found(runtime: GuestRuntime, guests: readonly GuestStatus[]): Promise<void>;
  exited(runtime: GuestRuntime, exit: GuestExit): void;
  /** Whether a guest can go on, as its runtime sees it. */
  healthTold(runtime: GuestRuntime, health: GuestHealth): void;
  containerChanged(runtime: GuestRuntime, change: GuestContainerChange): void;
  /** Whether the host has that feature: an attribute of its inventory. */
  offers(feature: string): boolean;
  /** Whether the runtime can be used, or how, has changed. */
  fingerprinted(runtime: GuestRuntime): void;
}

/** How long a driver may take to say whether it can run here, and to list its guests. */
const attachDeadlineMs = 30_000;

/** One guest runtime of a node: the slot of its driver, and what is known of it. */
export class GuestRuntime {
  readonly #owner: RuntimeOwner;
  #slot: Slot<'guest'> | undefined;
  #fingerprint: GuestFingerprint | undefined;
  /** The driver whose guests are known. */
  #attached: Activation<GuestDriver> | undefined;
  /** Exits that wait for the stock-taking to end. */
  #early: GuestExit[] | undefined;
  #detach: () => void = () => {};
  #health: Subscription | undefined;

  constructor(owner: RuntimeOwner) {
    this.#owner = owner;
  }

  get slot(): Slot<'guest'> {
    if (!this.#slot) throw new Error('the runtime has no slot yet');
    return this.#slot;
  }

  fill(slot: Slot<'guest'>): void {
    this.#slot = slot;
  }

  get fingerprint(): GuestFingerprint | undefined {
    return this.#fingerprint;
  }

  /** Runs guests now. */
  get usable(): boolean {
    return this.#fingerprint?.available === true && this.slot.active !== undefined;
  }

  readonly hooks: SlotHooks<GuestDriver> = {
    activated: (activation) => this.#attach(activation),
    deactivated: () => this.#leave(),
    failed: (failure) => {
      if (failure.restartAt === undefined) this.#owner.fingerprinted(this);
    },
  };

  async #attach(activation: Activation<GuestDriver>): Promise<void> {
    const { provider } = activation;
    checkRequirements(activation, this.#owner);
    let fingerprints: Subscription | undefined;
    const first = new Promise<void>((resolve, reject) => {
      fingerprints = provider.fingerprint().subscribe({
        next: (fingerprint) => {
          const before = this.#fingerprint;
          this.#fingerprint = fingerprint;
          resolve();
          if (this.#attached === activation && !same(before, fingerprint)) this.#changed(activation, before);
        },
        error: (error) => {
          reject(error);
          void this.slot.fail(error, activation);
        },
      });
    });
    const exits = provider.exits.subscribe({
      next: (exit) => (this.#early ? this.#early.push(exit) : this.#owner.exited(this, exit)),
      error: (error) => void this.slot.fail(error, activation),
      complete: () => void this.slot.fail(new Error('the driver tells of no more exits'), activation),
    });
    const containers = provider.containerChanges?.subscribe({
      // Before the guests are known it says what their list says as well.
      next: (change) => this.#early ?? this.#owner.containerChanged(this, change),
      error: (error) => void this.slot.fail(error, activation),
    });
    this.#detach = () => {
      containers?.unsubscribe();
      fingerprints?.unsubscribe();
      exits.unsubscribe();
    };
    const { clock } = this.#owner;
    await withinDeadline(clock, `${this.slot.label}: fingerprint`, attachDeadlineMs, () => first);
    if (this.#fingerprint?.available) await this.#takeStock(activation);
    this.#attached = activation;
  }

  /** Finds the guests. Exits that are told meanwhile are passed on after that: before, nobody could place them. */
  async #takeStock(activation: Activation<GuestDriver>): Promise<void> {
    const { provider } = activation;
    this.#early = [];
    try {
      const { clock } = this.#owner;
      const guests = await withinDeadline(clock, `${this.slot.label}: list`, attachDeadlineMs, () => provider.list());
      await this.#owner.found(this, guests);
    } finally {
      const early = this.#early;
      this.#early = undefined;
      for (const exit of early) this.#owner.exited(this, exit);
    }
    this.#listen(provider, activation);
  }

  /** After each stock-taking anew: then all that is known is told, of guests that somebody knows. */
  #listen({ health }: GuestDriver, activation: Activation<GuestDriver>): void {
    this.#health?.unsubscribe();
    this.#health = health?.subscribe({
      next: (told) => this.#owner.healthTold(this, told),
      error: (error) => void this.slot.fail(error, activation),
    });
  }

  /** A runtime that has become available may have guests that nobody has taken note of. */
  #changed(activation: Activation<GuestDriver>, before: GuestFingerprint | undefined): void {
    this.#owner.fingerprinted(this);
    if (before?.available || !this.#fingerprint?.available) return;
    this.#takeStock(activation).catch((error) => void this.slot.fail(error, activation));
  }

  #leave(): void {
    this.#attached = undefined;
    this.#detach();
    this.#health?.unsubscribe();
    this.#health = undefined;
    this.#detach = () => {};
  }
}
