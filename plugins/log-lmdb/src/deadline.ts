import { CloudosError } from '@cloudos/sdk';

/** @throws CloudosError TIMED_OUT when the work has not settled in that time; it goes on, and nobody hears of it */
export function withinDeadline<T>(work: Promise<T>, deadlineMs: number, what: string): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new CloudosError('TIMED_OUT', `${what} has not settled after ${deadlineMs} ms`));
    }, deadlineMs);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
