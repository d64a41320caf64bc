import { type Clock, type Logger, messageOf } from '@cloudos/sdk';
import { type Observable, Subject } from 'rxjs';

export interface DaemonLinkOptions {
  /** What the daemon is called in messages. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Between the loss of a connection, or a try in vain, and the next try. */
  readonly retryMs: number;
  /** Called before each try: starts a daemon that is ours to start. */
  readonly wake: () => Promise<void>;
  /**
   * Connects, and resolves when what happens from now on will be told. Whatever it opens ends with the signal.
   * @param lost to be called when the connection is gone
   */
  readonly connect: (signal: AbortSignal, lost: (error: unknown) => void) => Promise<void>;
}

/**
 * Keeps listening to a daemon: when the connection is lost, or the daemon with it, it comes back to it. What happened
 * meanwhile is for the subscriber of `connected` to find out.
 */
export class DaemonLink {
  readonly #options: DaemonLinkOptions;
  readonly #connected = new Subject<boolean>();
  /** The daemon tells us what happens from now on, or does not any more. */
  readonly connected: Observable<boolean> = this.#connected.asObservable();
  #run = new AbortController();
  #cancelRetry: () => void = () => {};
  #isConnected = false;

  constructor(options: DaemonLinkOptions) {
    this.#options = options;
    this.#run.abort();
  }

  /** Resolves when it was tried once, whatever came of it. */
  async begin(): Promise<void> {
    this.end();
    this.#run = new AbortController();
    await this.#try(this.#run.signal);
  }

  end(): void {
    this.#run.abort();
    this.#cancelRetry();
    this.#isConnected = false;
  }

  async #try(signal: AbortSignal): Promise<void> {
    try {
      await this.#options.wake();
      if (signal.aborted) return;
      await this.#options.connect(signal, (error) => this.#lost(signal, error));
      if (!signal.aborted) this.#tell(true);
    } catch (error) {
      this.#lost(signal, error);
    }
  }

  #lost(signal: AbortSignal, error: unknown): void {
    if (signal.aborted) return;
    const { clock, logger, name, retryMs } = this.#options;
    if (this.#isConnected) logger.warn(`${name} is away: ${messageOf(error)}`);
    this.#tell(false);
    this.#cancelRetry();
    this.#cancelRetry = clock.after(retryMs, () => void this.#try(signal));
  }

  #tell(connected: boolean): void {
    if (this.#isConnected === connected) return;
    this.#isConnected = connected;
    this.#connected.next(connected);
  }
}
