import { exitCodes } from './exit-codes.ts';

type Handler = (signal: NodeJS.Signals) => void;

/** Signals that ask the process to end: the handler pushed last gets them; without one the process ends. */
export class Interrupts {
  #handlers: Handler[] = [];
  readonly #listener: Handler;

  constructor() {
    this.#listener = (signal) => {
      const handler = this.#handlers.at(-1);
      if (handler) handler(signal);
      else process.exit(signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated);
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, this.#listener);
  }

  push(handler: Handler): () => void {
    this.#handlers.push(handler);
    return () => {
      this.#handlers = this.#handlers.filter((other) => other !== handler);
    };
  }

  close(): void {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, this.#listener);
  }
}
