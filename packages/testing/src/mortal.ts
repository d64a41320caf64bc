import { type AnyPlugin, type Clock, definePlugin, type PluginContext } from '@cloudos/sdk';
import { isObservable, type Observable, takeUntil } from 'rxjs';

/**
 * One life of a kernel in a simulation. A process that is killed stops between two instructions: what it had asked for
 * has happened or not, and it never hears of it. Here the instants that matter are the calls across the border of the
 * process, into the log and into drivers: each is a possible moment of death, before it takes effect and after.
 */
export class Life {
  #stepsLeft: number;
  #steps = 0;
  #ended: () => void = () => {};
  /** Resolves when the life ends. */
  readonly end: Promise<void>;

  /** @param steps calls into the world until death, half a step each before and after; Infinity: lives on */
  constructor(steps = Number.POSITIVE_INFINITY) {
    this.#stepsLeft = steps;
    this.end = new Promise((resolve) => {
      this.#ended = resolve;
    });
  }

  get alive(): boolean {
    return this.#stepsLeft > 0;
  }

  /** Moments passed so far. */
  get steps(): number {
    return this.#steps;
  }

  /** Ends the life now. Whatever it waits for never comes. */
  cut(): void {
    this.#stepsLeft = 0;
    this.#ended();
  }

  /** Passes one moment. Never resolves for the dead. */
  moment(): Promise<void> {
    if (this.alive) {
      this.#steps++;
      if (--this.#stepsLeft === 0) this.cut();
    }
    return this.alive ? Promise.resolve() : new Promise(() => {});
  }

  /**
   * The same plugin, living this life: its calls are moments, and for the dead they have no effect.
   * @param world the clock of the world: what a driver has set going there goes on without it
   */
  lend<P extends AnyPlugin>(plugin: P, world: Clock): P {
    const wrap = (provider: object) => this.#wrap(provider);
    const create = async (context: PluginContext, config: unknown) => {
      await this.moment();
      const make = plugin.create as (context: PluginContext, config: unknown) => object | Promise<object>;
      return wrap(await make.call(plugin, { ...context, clock: world }, config));
    };
    return definePlugin({ ...plugin, create } as never) as unknown as P;
  }

  /** The same clock: its timers do not call the dead. */
  lendClock(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      after: (delayMs, callback) => clock.after(delayMs, () => this.alive && callback()),
    };
  }

  #whileAlive<T>(observable: Observable<T>): Observable<T> {
    return observable.pipe(takeUntil(this.end));
  }

  #wrap<T extends object>(provider: T): T {
    return new Proxy(provider, {
      get: (target, key) => {
        const member: unknown = Reflect.get(target, key, target);
        if (isObservable(member)) return this.#whileAlive(member);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) =>
          this.#call(() => (member as (...args: unknown[]) => unknown).apply(target, args), String(key));
      },
    });
  }

  #call(call: () => unknown, name: string): unknown {
    if (!asynchronous.has(name)) {
      const result = call();
      return isObservable(result) ? this.#whileAlive(result) : result;
    }
    return this.moment()
      .then(call)
      .then(async (result) => {
        await this.moment();
        return result;
      });
  }
}

/** What crosses the border and answers later. The rest (observables, synchronous reads) has no effect to cut off. */
const asynchronous = new Set(['append', 'create', 'start', 'stop', 'remove', 'adopt', 'list', 'purge', 'apply']);
