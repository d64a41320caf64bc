import { Agent } from 'node:http';
import type { Clock } from '@cloudos/sdk';

/** Where one instance is reached for one service port. */
export interface Target {
  readonly instance: string;
  readonly host: string;
  readonly port: number;
}

/** A target with the connections kept to it. */
export interface Backend extends Target {
  readonly agent: Agent;
}

/** After a failed connection the other endpoints are preferred for that long. */
export const avoidMs = 1_000;

/** The ready endpoints of one service port, taken in turn. */
export class EndpointPool {
  readonly #clock: Clock;
  readonly #idleMax: number;
  #backends: Backend[] = [];
  #next = 0;
  readonly #avoidUntil = new WeakMap<Backend, number>();
  readonly #waiting = new Set<() => void>();

  constructor(clock: Clock, idleMax: number) {
    this.#clock = clock;
    this.#idleMax = idleMax;
  }

  get size(): number {
    return this.#backends.length;
  }

  /** The whole new list. An endpoint that left gets nothing new from now on; what is under way to it goes on. */
  update(targets: readonly Target[]): void {
    const known = new Map(this.#backends.map((backend) => [keyOf(backend), backend]));
    this.#backends = targets.map((target) => {
      const key = keyOf(target);
      const kept = known.get(key);
      known.delete(key);
      return kept ?? { ...target, agent: new Agent({ keepAlive: true, maxFreeSockets: this.#idleMax }) };
    });
    for (const gone of known.values()) retire(gone.agent);
    if (this.#backends.length === 0) return;
    for (const wake of [...this.#waiting]) wake();
  }

  /** The next in turn that was not tried yet, those that just failed last. Undefined when all were. */
  pick(tried: ReadonlySet<Backend>): Backend | undefined {
    const now = this.#clock.now();
    const count = this.#backends.length;
    let fallback: Backend | undefined;
    for (let step = 0; step < count; step++) {
      const index = (this.#next + step) % count;
      const backend = this.#backends[index];
      if (!backend || tried.has(backend)) continue;
      if ((this.#avoidUntil.get(backend) ?? 0) <= now) {
        this.#next = (index + 1) % count;
        return backend;
      }
      fallback ??= backend;
    }
    return fallback;
  }

  /** Prefers others for a while. */
  failed(backend: Backend): void {
    this.#avoidUntil.set(backend, this.#clock.now() + avoidMs);
  }

  /** Resolves at once when there is an endpoint, else when there is one or the time is over. */
  available(waitMs: number): Promise<void> {
    if (this.#backends.length > 0) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const cancel = this.#clock.after(waitMs, wake);
      this.#waiting.add(wake);
    });
  }

  /** Lets go of everything that waits or is idle. */
  close(): void {
    for (const backend of this.#backends) retire(backend.agent);
    this.#backends = [];
    for (const wake of [...this.#waiting]) wake();
  }
}

function keyOf(target: Target): string {
  return `${target.instance} ${target.host} ${target.port}`;
}

/** Closes the idle connections now and those in use when their request has ended. `destroy` would cut those off. */
function retire(agent: Agent): void {
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}
