/** Bounds of the waits between two attempts. Milliseconds. */
export interface BackoffBounds {
  readonly initialMs: number;
  readonly maxMs: number;
}

export const defaultBackoff: BackoffBounds = { initialMs: 100, maxMs: 10_000 };

/**
 * How long to wait before the attempt of that number (from 1): exponential with full jitter, so that many clients
 * that lost the same server do not come back at the same moment (Brooker, "Exponential Backoff And Jitter", 2015).
 * Never less than half of the initial wait.
 * @param random 0 (inclusive) to 1 (exclusive)
 */
export function backoffMs(attempt: number, bounds: BackoffBounds, random: number): number {
  const ceiling = Math.min(bounds.maxMs, bounds.initialMs * 2 ** Math.min(attempt - 1, 30));
  return Math.max(bounds.initialMs / 2, Math.floor(random * ceiling));
}

/** Resolves after that time, or at once when the signal is aborted. */
export function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener('abort', done, { once: true });
  });
}
