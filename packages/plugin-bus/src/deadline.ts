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
    const cancel = clock.after(deadlineMs, () =>
      reject(new CloudosError('PLUGIN_TIMEOUT', `${label} did not answer in ${deadlineMs} ms`, { details: { label } })),
    );
    Promise.resolve().then(call).then(resolve, reject).finally(cancel);
  });
}
