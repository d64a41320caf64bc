import { type Logger, messageOf } from '@cloudos/sdk';
import { Subject } from 'rxjs';
import type { LxdClient } from './lxd-client.ts';

/** What the daemon tells of the life of instances (LXD documentation, "Events", type `lifecycle`). */
interface LifecycleEvent {
  readonly metadata?: { readonly action?: string; readonly source?: string };
}

/** Actions after which an instance may not run any more. LXD and Incus call them the same. */
const endings = new Set(['instance-stopped', 'instance-shutdown']);

/** What the daemon tells of its instances. */
export class LxdEvents {
  readonly #client: LxdClient;
  readonly #logger: Logger;
  readonly #ended = new Subject<string>();
  /** An instance has ended: its name at the daemon. */
  readonly ended = this.#ended.asObservable();

  constructor(client: LxdClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /** Resolves when the daemon tells what happens from now on. */
  async connect(signal: AbortSignal, lost: (error: unknown) => void): Promise<void> {
    const socket = this.#client.webSocket('/1.0/events?type=lifecycle');
    signal.addEventListener('abort', () => socket.terminate(), { once: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('closed before it was open')));
    });
    socket.on('message', (data) => this.#take(String(data)));
    socket.on('error', () => {});
    socket.once('close', () => lost(new Error('it has closed the connection')));
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
}
