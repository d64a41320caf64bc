import { describe, expect, it } from 'vitest';
import { narrowed } from './narrowed.ts';

describe('what was asked for within a bound', () => {
  it.each([
    [{}, { types: ['Guest*'] }, { types: ['Guest*'] }],
    [{ types: ['Guest*'] }, { types: ['GuestStarted', 'GuestExited'] }, { types: ['GuestStarted', 'GuestExited'] }],
    [{ types: ['GuestStarted'] }, { types: ['Guest*'] }, { types: ['GuestStarted'] }],
    [{ types: ['*'] }, { types: ['Guest*', 'Node*'] }, { types: ['Guest*', 'Node*'] }],
    [{ types: ['GuestS*'] }, { types: ['Guest*', 'GuestSta*'] }, { types: ['GuestS*', 'GuestSta*'] }],
    [{ streams: ['node-a'] }, { types: ['Guest*'] }, { streams: ['node-a'], types: ['Guest*'] }],
  ])('%j within %j is %j', (asked, bound, expected) => {
    expect(narrowed(asked, bound)).toEqual(expected);
  });

  it.each([
    [{ types: ['NodeJoined'] }, { types: ['Guest*'] }, /types Guest\*; given NodeJoined/],
    [{ types: ['GuestStarted', 'Node*'] }, { types: ['Guest*'] }, /given Node\*/],
    [{ streams: ['node-*'] }, { streams: ['kernel'] }, /streams kernel; given node-\*/],
  ])('%j within %j is refused by name', (asked, bound, message) => {
    expect(() => narrowed(asked, bound)).toThrow(message);
    expect(() => narrowed(asked, bound)).toThrow(expect.objectContaining({ code: 'SCOPE_MISSING' }));
  });
});
