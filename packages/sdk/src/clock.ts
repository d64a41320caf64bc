/** Time as everything but a policy sees it. Policies see none: they are handed `now`. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Calls back once after at least that many milliseconds. Returns how to cancel it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The machine's clock. Timers do not keep the process alive by themselves. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, 0x7fffffff));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after that time on the clock, or at once when the signal is aborted. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      signal?.removeEventListener('abort', done);
      cancel();
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Makes UUIDv7 identifiers (RFC 9562). Injected so that a simulation can repeat itself. */
export type IdSource = () => string;
