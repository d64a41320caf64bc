import { type Clock, CloudosError } from '@cloudos/sdk';

/**
 * The result of a call, or PLUGIN_TIMEOUT when it takes longer than that on the clock. What a late call does after
 * that is ignored.
 */
export function withinDeadline<T>(
  clock: Clock,
  label: string,
  deadlineMs: number,
  call: () => T | Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const called = call(); // what it throws rejects
    if (!isThenable(called)) return resolve(called);
    const cancel = clock.after(deadlineMs, () => reject(timedOut(label, deadlineMs)));
    called.then(
      (result) => {
        cancel();
        resolve(result);
      },
      (error: unknown) => {
        cancel();
        reject(error);
      },
    );
  });
}

/** PLUGIN_TIMEOUT: what it was that did not answer, and how long that was waited for. */
export function timedOut(label: string, deadlineMs: number): CloudosError {
  return new CloudosError('PLUGIN_TIMEOUT', `${label} did not answer in ${deadlineMs} ms`, { details: { label } });
}

export function isThenable<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}
