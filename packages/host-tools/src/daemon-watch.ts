import { type CloudosError, type GuestFingerprint, type Logger, messageOf, type Scope } from '@cloudos/sdk';
import { BehaviorSubject, type Observable } from 'rxjs';
import { DaemonLink, type DaemonLinkOptions } from './daemon-link.ts';

/** A daemon that guests live in: one that somebody else runs, or one of the node's own. */
export interface WatchedDaemon<Facts> {
  /** Name of the runtime. */
  readonly runtime: string;
  /** What the daemon is called in messages. */
  readonly name: string;
  /** How often one that is gone is looked for. */
  readonly retryMs: number;
  /** Absent: somebody else runs it. */
  readonly own?: OwnDaemon | undefined;
  /** How long one of the node's own may take to come up. */
  readonly timeoutMs: number;
  /** What it says of itself. */
  readonly ask: () => Promise<Facts>;
  /** What is offered with one that says so. */
  readonly describe: (facts: Facts) => GuestFingerprint | Promise<GuestFingerprint>;
  /** What to do about an error that does not say so itself. */
  readonly remedy: string;
  /** What it tells: which guest has ended, by the name that it knows it by. */
  readonly events: {
    readonly ended: Observable<string>;
    /** As {@link DaemonLinkOptions.connect}. */
    connect(signal: AbortSignal, lost: (error: unknown) => void): Promise<void>;
  };
}

/** A daemon of the node's own. It is started with the first guest, not to find out what it could do. */
export interface OwnDaemon {
  readonly isRunning: boolean;
  /** Starts it unless it runs. @throws CloudosError RUNTIME_UNAVAILABLE */
  ensure(timeoutMs: number): Promise<void>;
  /** What will be offered when it runs. @throws CloudosError RUNTIME_UNAVAILABLE when it could not be started */
  describe(): Promise<GuestFingerprint>;
}

/** Who finds out how guests have ended. */
export interface EndsObserver {
  look(name: string): Promise<void>;
  lookAtAll(): Promise<void>;
}

/**
 * What a driver knows of the daemon that its guests live in, as it comes and goes: the fingerprint of the runtime, what the
 * daemon says of itself, and word of guests that have ended, also while it was away.
 */
export class DaemonWatch<Facts> {
  readonly #daemon: WatchedDaemon<Facts>;
  readonly #scope: Scope;
  readonly #logger: Logger;
  readonly #link: DaemonLink;
  readonly #fingerprints: BehaviorSubject<GuestFingerprint>;
  readonly fingerprints: Observable<GuestFingerprint>;
  #facts: Facts | undefined;
  #reaching: Promise<Facts> | undefined;

  private constructor(context: WatchContext, daemon: WatchedDaemon<Facts>, first: GuestFingerprint) {
    this.#daemon = daemon;
    this.#scope = context.scope;
    this.#logger = context.logger;
    this.#fingerprints = new BehaviorSubject(first);
    this.fingerprints = this.#fingerprints.asObservable();
    this.#link = new DaemonLink({
      name: daemon.name,
      clock: context.clock,
      logger: context.logger,
      retryMs: daemon.retryMs,
      wake: async () => daemon.own?.ensure(daemon.timeoutMs),
      connect: (signal, lost) => daemon.events.connect(signal, lost),
    });
  }

  /** Finds out what there is to be said of the runtime by now. */
  static async open<Facts>(context: WatchContext, daemon: WatchedDaemon<Facts>): Promise<DaemonWatch<Facts>> {
    const watch = new DaemonWatch(context, daemon, await fingerprintOf(daemon));
    context.scope.defer('fingerprint', () => watch.#fingerprints.complete());
    return watch;
  }

  /**
   * Tells of ends from now on, and asks to look at all guests when the daemon is there again after it was not. Resolves
   * when it was tried once to reach a daemon that should be there.
   */
  async follow(observer: EndsObserver): Promise<void> {
    const ended = this.#daemon.events.ended.subscribe((name) => this.#attempt(name, () => observer.look(name)));
    const connected = this.#link.connected.subscribe((isConnected) => {
      if (isConnected) this.#attempt('looking at all guests', () => observer.lookAtAll());
      else this.#facts = undefined;
      this.#attempt('fingerprint', async () => {
        const print = await fingerprintOf(this.#daemon, isConnected);
        if (!this.#scope.closed) this.#fingerprints.next(print);
      });
    });
    this.#scope.defer(`link to ${this.#daemon.name}`, () => {
      ended.unsubscribe();
      connected.unsubscribe();
      this.#link.end();
    });
    if (!isAsleep(this.#daemon)) await this.#link.begin();
  }

  /** What the daemon says of itself; starts one of the node's own. @throws CloudosError RUNTIME_UNAVAILABLE */
  async facts(): Promise<Facts> {
    if (this.#facts !== undefined && !isAsleep(this.#daemon)) return this.#facts;
    this.#reaching ??= this.#reach().finally(() => {
      this.#reaching = undefined;
    });
    return this.#reaching;
  }

  async #reach(): Promise<Facts> {
    await this.#daemon.own?.ensure(this.#daemon.timeoutMs);
    this.#facts = await this.#daemon.ask();
    const facts = this.#facts;
    if (!this.#scope.closed) await this.#link.begin();
    return facts;
  }

  /** The daemon is about to be removed: what was known of it is forgotten, and it is not looked for. */
  forget(): void {
    this.#link.end();
    this.#facts = undefined;
  }

  #attempt(what: string, call: () => Promise<void>): void {
    call().catch((error: unknown) => this.#logger.warn(`${what}: ${messageOf(error)}`));
  }
}

/** What the watch needs of a plugin's context. */
export interface WatchContext {
  readonly scope: Scope;
  readonly clock: DaemonLinkOptions['clock'];
  readonly logger: Logger;
}

function isAsleep({ own }: Pick<WatchedDaemon<never>, 'own'>): boolean {
  return own !== undefined && !own.isRunning;
}

/** @param isReached false: one that does not answer is not started for it */
async function fingerprintOf<Facts>(daemon: WatchedDaemon<Facts>, isReached = true): Promise<GuestFingerprint> {
  const { runtime, own, timeoutMs } = daemon;
  try {
    if (isReached && own && isAsleep(daemon)) return await own.describe();
    if (isReached) await own?.ensure(timeoutMs);
    return await daemon.describe(await daemon.ask());
  } catch (error) {
    const { remedy } = error as Partial<CloudosError>;
    return { available: false, runtime, reason: messageOf(error), remedy: remedy ?? daemon.remedy };
  }
}
