import { availableParallelism } from 'node:os';
import { Role } from './processes.ts';
import type { Connecting } from './subscriber-process.ts';

/**
 * Reading a message costs a client more than making and writing it costs a server that writes many at once, so that with
 * one process of subscribers it is their WebSocket library that is measured, whatever the server.
 */
const processes = Math.min(4, Math.max(2, availableParallelism()));

/** Subscribers in several processes, as subscribers are. */
export class Subscribers {
  readonly #roles: readonly Role[];
  readonly #taken: number[];
  /** Told how far the slowest subscriber is. */
  onTaken: (taken: number) => void = () => {};

  private constructor(roles: readonly Role[]) {
    this.#roles = roles;
    this.#taken = roles.map(() => 0);
    for (const [index, role] of roles.entries()) {
      role.onTaken = (taken) => {
        this.#taken[index] = taken;
        this.onTaken(Math.min(...this.#taken));
      };
    }
  }

  static async start(): Promise<Subscribers> {
    return new Subscribers(await Promise.all(Array.from({ length: processes }, () => Role.start('subscribers'))));
  }

  /** Makes that many connections, in equal parts. */
  async connect(given: Connecting): Promise<void> {
    let left = given.count;
    for (const [index, role] of this.#roles.entries()) {
      const count = Math.ceil(left / (this.#roles.length - index));
      left -= count;
      await role.ask('connect', { ...given, count });
    }
  }

  /** Resolves when every subscriber has taken that many, with how many it was in all. */
  async until(events: number): Promise<number> {
    this.#taken.fill(0);
    const taken = await Promise.all(this.#roles.map((role) => role.ask<number>('until', { events })));
    return taken.reduce((sum, each) => sum + each, 0);
  }

  async end(): Promise<void> {
    await Promise.all(this.#roles.map((role) => role.end()));
  }
}
