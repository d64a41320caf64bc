import { Script } from 'node:vm';
import { CloudosError } from '@cloudos/sdk';

/**
 * Runs a synchronous call under a deadline. A policy is pure and synchronous, so nothing but the JavaScript engine can
 * stop an endless loop in it: `node:vm` interrupts the thread when the time is up, however deep the call stands.
 * The engine arms a timer per call, about 0.1 ms: cheap for a batch, not for a single event.
 */
export function callWithin<T>(label: string, deadlineMs: number, call: () => T): T {
  if (current !== undefined) return call(); // inside of a guarded call already
  let result: T | undefined;
  current = () => {
    result = call();
  };
  try {
    guarded.runInThisContext({ timeout: deadlineMs });
    return result as T;
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
      throw new CloudosError('PLUGIN_TIMEOUT', `${label} did not return in ${deadlineMs} ms`, { details: { label } });
    }
    throw error;
  } finally {
    current = undefined;
  }
}

let current: (() => void) | undefined;
const entry = Symbol.for('cloudos.policy-call');
Object.defineProperty(globalThis, entry, { value: () => current?.(), configurable: true });
const guarded = new Script(`globalThis[Symbol.for('cloudos.policy-call')]()`, { filename: 'policy-call' });
