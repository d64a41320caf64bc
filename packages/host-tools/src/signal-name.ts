import { constants } from 'node:os';

/** Name of a signal by its number (`SIGKILL` for 9), or undefined when there is none. */
export function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}
