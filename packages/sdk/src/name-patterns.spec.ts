import { describe, expect, it } from 'vitest';
import { compileNames, namesRememberedMax } from './name-patterns.ts';

describe('compileNames', () => {
  it('takes names exactly, and any rest after a star at the end', () => {
    const matches = compileNames(['node-*', 'kernel', 'a*b']);
    const names = ['node-', 'node-1', 'node', 'kernel', 'kernel-1', 'a*b', 'ab'];
    expect(names.filter((name) => matches?.(name))).toEqual(['node-', 'node-1', 'kernel', 'a*b']);
    expect(['kernel', 'x'].map((name) => compileNames(['kernel'])?.(name))).toEqual([true, false]);
  });

  it('tells where every name matches', () => {
    for (const patterns of [undefined, [], ['*'], ['x', '*']]) expect(compileNames(patterns)).toBeUndefined();
  });

  it('answers the same for more names than it remembers', () => {
    const matches = compileNames(['n1*']);
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < namesRememberedMax + 10; n++) {
        expect(matches?.(`n${n}`)).toBe(`n${n}`.startsWith('n1'));
      }
    }
  });
});
