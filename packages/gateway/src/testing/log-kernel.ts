import type { Kernel } from '@cloudos/kernel';
import { CloudosError, type LogProvider } from '@cloudos/sdk';

const startedAt = Date.now();

/**
 * A kernel that is a log and nothing else, for tests of what serves one. `log` may be replaced while it runs.
 * Everything that would need a stack throws SLOT_EMPTY.
 */
export class LogKernel {
  log: LogProvider;
  readonly #stateDir: string;

  constructor(log: LogProvider, stateDir: string) {
    this.log = log;
    this.#stateDir = stateDir;
  }

  status(): ReturnType<Kernel['status']> {
    const head = this.log.head();
    return { stack: 'log', pid: process.pid, version: '0.0.0', startedAt, head, stateDir: this.#stateDir };
  }

  append: Kernel['append'] = (stream, events, at) => this.log.append(stream, events, at);

  /** The same object as what a gateway takes. */
  asKernel(): Kernel {
    return new Proxy(this as object, {
      get: (_target, name) => {
        const value = Reflect.get(this, name, this) as unknown;
        if (typeof value === 'function') return (value as (...given: never[]) => unknown).bind(this);
        if (value !== undefined) return value;
        throw new CloudosError('SLOT_EMPTY', `${String(name)}: there is nothing here but a log`);
      },
    }) as Kernel;
  }
}
