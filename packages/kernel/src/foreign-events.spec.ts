import { describe, expect, it } from 'vitest';
import { assertForeign } from './foreign-events.ts';

describe('events of programs outside of the stack', () => {
  it('are private and go to a private stream', () => {
    expect(() => assertForeign('x-audit', [{ type: 'x-audit-Noted', data: {} }])).not.toThrow();
  });

  it.each([
    ['orchestrator', 'x-audit-Noted'],
    ['x-', 'x-audit-Noted'],
    ['x-audit', 'InstanceWithdrawn'],
  ])('are refused to %s as %s', (stream, type) => {
    expect(() => assertForeign(stream, [{ type, data: {} }])).toThrow(
      expect.objectContaining({ code: 'EVENT_INVALID' }),
    );
  });
});
