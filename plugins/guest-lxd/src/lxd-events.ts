import { type Clock, type Logger, messageOf } from '@cloudos/sdk';
import { Subject } from 'rxjs';
import type { WebSocket } from 'ws';
import type { LxdClient } from './lxd-client.ts';

/** What the daemon tells of the life of instances (LXD documentation, "Events", type `lifecycle`). */
interface LifecycleEvent {
  readonly metadata?: { readonly action?: string; readonly source?: string };
}

/** Actions after which an instance may not run any more. LXD and Incus call them the same. */
const endings = new Set(['instance-stopped', 'instance-shutdown']);

/**
 * Listens to the daemon's lifecycle events. When the connection is lost it comes back to it; what happened meanwhile is for
 * the subscriber of `connected` to find out.
 */
export class LxdEvents {
  readonly #client: LxdClient;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #retryMs: number;
  readonly #wake: () => Promise<void>;
  readonly #ended = new Subject<string>();
  readonly #connected = new Subject<boolean>();
  /** An instance has ended: its name at the daemon. */
  readonly ended = this.#ended.asObservable();
  readonly connected = this.#connected.asObservable();
  #socket: WebSocket | undefined;
  #run = 0;
  #isConnected = false;
  #cancelRetry: () => void = () => {};

  constructor(parts: {
    client: LxdClient;
    clock: Clock;
    logger: Logger;
    retryMs: number;
    /** Called before each try to connect: starts a daemon that is ours to start. */
    wake: () => Promise<void>;
  }) {
    this.#client = parts.client;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#retryMs = parts.retryMs;
    this.#wake = parts.wake;
  }

  /** Resolves when the daemon was asked once, whatever it answered. */
  async begin(): Promise<void> {
    this.end();
    await this.#listen(this.#run);
  }

  end(): void {
    this.#run++;
    this.#cancelRetry();
    this.#socket?.terminate();
    this.#socket = undefined;
    this.#isConnected = false;
  }

  async #listen(run: number): Promise<void> {
    try {
      await this.#wake();
      if (run !== this.#run) return;
      const socket = this.#client.webSocket('/1.0/events?type=lifecycle');
      this.#socket = socket;
      await new Promise<void>((resolve, reject) => {
        socket.once('open', resolve);
        socket.once('error', reject);
        socket.once('close', () => reject(new Error('closed before it was open')));
      });
      if (run !== this.#run) return socket.terminate();
      socket.on('message', (data) => this.#take(String(data)));
      socket.on('error', () => {});
      socket.once('close', () => this.#lost(run, new Error('the daemon has closed the connection')));
      this.#tell(true);
    } catch (error) {
      this.#lost(run, error);
    }
  }

  #take(text: string): void {
    try {
      const { action, source = '' } = (JSON.parse(text) as LifecycleEvent).metadata ?? {};
      const name = /^\/1\.0\/instances\/([^/?]+)/.exec(source)?.[1];
      if (action !== undefined && endings.has(action) && name) this.#ended.next(decodeURIComponent(name));
    } catch (error) {
      this.#logger.warn(`an event of the daemon cannot be read: ${messageOf(error)}`);
    }
  }

  #lost(run: number, error: unknown): void {
    if (run !== this.#run) return;
    if (this.#isConnected) this.#logger.warn(`the LXD daemon is away: ${messageOf(error)}`);
    this.#tell(false);
    this.#cancelRetry = this.#clock.after(this.#retryMs, () => void this.#listen(run));
  }

  #tell(connected: boolean): void {
    if (this.#isConnected === connected) return;
    this.#isConnected = connected;
    this.#connected.next(connected);
  }
}
