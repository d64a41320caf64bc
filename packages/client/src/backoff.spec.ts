import { describe, expect, it } from 'vitest';
import { backoffMs, pause } from './backoff.ts';

const bounds = { initialMs: 100, maxMs: 10_000 };

describe('backoff', () => {
  it('doubles up to its bound', () => {
    const longest = [1, 2, 3, 4, 8, 100].map((attempt) => backoffMs(attempt, bounds, 0.999_999));
    expect(longest).toEqual([99, 199, 399, 799, 9_999, 9_999]);
  });

  it('is spread over the whole range, and never nothing', () => {
    expect(backoffMs(5, bounds, 0)).toBe(50);
    expect(backoffMs(5, bounds, 0.5)).toBe(800);
  });

  it('ends early when it is aborted', async () => {
    const abort = new AbortController();
    const started = Date.now();
    const waited = pause(60_000, abort.signal);
    abort.abort();
    await waited;
    await pause(60_000, abort.signal);
    expect(Date.now() - started).toBeLessThan(5_000);
  });
});
