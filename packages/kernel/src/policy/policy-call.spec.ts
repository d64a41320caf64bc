import { describe, expect, it } from 'vitest';
import { callWithin } from './policy-call.ts';

describe('a guarded call', () => {
  it('returns what the call returns and throws what it throws', () => {
    expect(callWithin('x', 1_000, () => 42)).toBe(42);
    const bug = new TypeError('a bug');
    expect(() =>
      callWithin('x', 1_000, () => {
        throw bug;
      }),
    ).toThrow(bug);
  });

  it('ends an endless loop with PLUGIN_TIMEOUT, and the thread goes on', () => {
    const spin = () => {
      for (;;);
    };
    expect(() => callWithin('spinner: react', 50, spin)).toThrow(
      expect.objectContaining({ code: 'PLUGIN_TIMEOUT', message: 'spinner: react did not return in 50 ms' }),
    );
    expect(callWithin('x', 1_000, () => 'still here')).toBe('still here');
  });

  it('may be nested', () => {
    expect(callWithin('outer', 1_000, () => callWithin('inner', 1_000, () => 1) + 1)).toBe(2);
  });
});
