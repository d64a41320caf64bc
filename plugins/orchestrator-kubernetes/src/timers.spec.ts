import { describe, expect, it } from 'vitest';
import { Timers } from './timers.ts';

/** Timers over a table of what is valid. */
function over(valid: Map<string, number>): Timers<string> {
  return new Timers<string>((key, time) => valid.get(key) === time);
}

describe('Timers', () => {
  it('tells the earliest and what is due, and looking changes nothing', () => {
    const valid = new Map([...'hdbacgfe'].map((key, index) => [key, (index * 7) % 8] as const));
    const timers = over(valid);
    for (const [key, time] of valid) timers.add(time, key);
    expect(timers.next()).toBe(0);
    for (let now = -1; now <= 8; now++) {
      const expected = [...valid].filter(([, time]) => time <= now).map(([key]) => key);
      expect(timers.due(now, 100).sort()).toEqual(expected.sort());
      expect(timers.due(now, 100).sort()).toEqual(expected.sort());
    }
    expect(timers.due(8, 3)).toHaveLength(3);
  });

  it('passes over what is not valid any more', () => {
    const valid = new Map([
      ['a', 1],
      ['b', 2],
    ]);
    const timers = over(valid);
    timers.add(1, 'a');
    timers.add(2, 'b');
    valid.set('a', 5);
    timers.add(5, 'a');
    expect(timers.next()).toBe(2);
    expect(timers.due(9, 100).sort()).toEqual(['a', 'b']);
    valid.clear();
    expect(timers.next()).toBeUndefined();
    expect(timers.due(9, 100)).toEqual([]);
  });

  it('stays sound through thousands of changes', () => {
    const valid = new Map<string, number>();
    const timers = over(valid);
    for (let step = 0; step < 20_000; step++) {
      const key = `k${(step * 7919) % 50}`;
      const time = (step * 104_729) % 1000;
      valid.set(key, time);
      timers.add(time, key);
    }
    expect(timers.next()).toBe(Math.min(...valid.values()));
    const due = [...valid].filter(([, time]) => time <= 500).map(([key]) => key);
    expect([...new Set(timers.due(500, 1_000_000))].sort()).toEqual(due.sort());
  });
});
