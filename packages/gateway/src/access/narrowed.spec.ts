import type { EventFilter } from '@cloudos/client';
import { describe, expect, it } from 'vitest';
import { type EventsBound, narrowed } from './narrowed.ts';

describe('what was asked for within a bound', () => {
  it.each([
    [{}, { types: ['Guest*'] }, { types: ['Guest*'] }],
    [{ types: ['Guest*'] }, { types: ['GuestStarted', 'GuestExited'] }, { types: ['GuestStarted', 'GuestExited'] }],
    [{ types: ['GuestStarted'] }, { types: ['Guest*'] }, { types: ['GuestStarted'] }],
    [{ types: ['*'] }, { types: ['Guest*', 'Node*'] }, { types: ['Guest*', 'Node*'] }],
    [{ types: ['GuestS*'] }, { types: ['Guest*', 'GuestSta*'] }, { types: ['GuestS*', 'GuestSta*'] }],
    [{ types: [] }, { types: ['Guest*'] }, { types: ['Guest*'] }],
    [{ streams: [] }, { streams: ['kernel'] }, { streams: ['kernel'] }],
    [{}, { workload: 'web', node: 'n1', layer: 'node' }, { workload: 'web', node: 'n1', layer: 'node' }],
    [{ workload: 'default/web', cause: 7 }, { workload: 'web' }, { workload: 'web', cause: 7 }],
    [{ streams: ['node-a'] }, { types: ['Guest*'] }, { streams: ['node-a'], types: ['Guest*'] }],
  ] as [EventFilter, EventsBound, EventFilter][])('%j within %j is %j', (asked, bound, expected) => {
    expect(narrowed(asked, bound)).toEqual(expected);
  });

  it.each([
    [{ types: ['NodeJoined'] }, { types: ['Guest*'] }, /types Guest\*; given NodeJoined/],
    [{ types: ['GuestStarted', 'Node*'] }, { types: ['Guest*'] }, /given Node\*/],
    [{ workload: 'api' }, { workload: 'web' }, /workload web; given api/],
    [{ node: 'n2' }, { node: 'n1' }, /node n1; given n2/],
    [{ layer: 'kernel' }, { layer: 'node' }, /layer node; given kernel/],
    [{ types: [''] }, { types: ['Guest*'] }, /types Guest\*; given $/],
    [{ streams: ['node-*'] }, { streams: ['kernel'] }, /streams kernel; given node-\*/],
  ] as [EventFilter, EventsBound, RegExp][])('%j within %j is refused by name', (asked, bound, message) => {
    expect(() => narrowed(asked, bound)).toThrow(message);
    expect(() => narrowed(asked, bound)).toThrow(expect.objectContaining({ code: 'SCOPE_MISSING' }));
  });
});
