import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { KillDeadline } from './kill-deadline.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a session whose runtime tells no exit code ends 5 s after the command was killed', async () => {
  const abandon = vi.fn();
  const deadline = new KillDeadline(new Promise(() => {}), abandon);
  vi.advanceTimersByTime(60_000);
  deadline.start();
  vi.advanceTimersByTime(4_999);
  expect(abandon).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(abandon).toHaveBeenCalledOnce();
  expect(await deadline.exitCode).toBe(137);
});

test('the code that the runtime tells in time is the code, and nothing is abandoned', async () => {
  const abandon = vi.fn();
  const deadline = new KillDeadline(Promise.resolve(3), abandon);
  deadline.start();
  expect(await deadline.exitCode).toBe(3);
  deadline.start();
  vi.advanceTimersByTime(60_000);
  expect(abandon).not.toHaveBeenCalled();
});

test('a failure that nobody waits for is none of the process, and is told to who asks', async () => {
  const deadline = new KillDeadline(Promise.reject(new Error('the daemon is gone')), () => {});
  await vi.advanceTimersByTimeAsync(0);
  await expect(deadline.exitCode).rejects.toThrow('the daemon is gone');
});
