import { describe, expect, it } from 'vitest';
import { SeededRandom, seededIds } from './seeded-random.ts';
import { VirtualClock } from './virtual-clock.ts';

describe('SeededRandom', () => {
  it('repeats itself for a seed and differs between seeds', () => {
    const draw = (seed: number) => {
      const random = new SeededRandom(seed);
      return Array.from({ length: 20 }, () => random.uint32());
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
  });

  it('spreads evenly: every bucket within 10 % of its share', () => {
    const random = new SeededRandom(42);
    const buckets = new Array<number>(10).fill(0);
    for (let n = 0; n < 100_000; n++) buckets[random.int(10)]!++;
    for (const count of buckets) expect(Math.abs(count - 10_000)).toBeLessThan(1_000);
  });

  it('shuffles without losing anything, and leaves the list alone', () => {
    const items = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const shuffled = new SeededRandom(3).shuffle(items);
    expect(shuffled).not.toEqual(items);
    expect([...shuffled].sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(items[0]).toBe(1);
  });

  it('forks by label independently of what was drawn', () => {
    const one = new SeededRandom(5);
    const other = new SeededRandom(5);
    other.next();
    expect(one.fork('x').uint32()).toBe(other.fork('x').uint32());
    expect(one.fork('x').uint32()).not.toBe(one.fork('y').uint32());
  });

  it('refuses an empty choice', () => {
    expect(() => new SeededRandom(1).pick([])).toThrow(RangeError);
    expect(() => new SeededRandom(1).int(0)).toThrow(RangeError);
  });
});

describe('seededIds', () => {
  it('makes valid, unique, increasing and repeatable UUIDv7', () => {
    const make = () => {
      const clock = new VirtualClock({ startMs: 1_700_000_000_000 });
      const newId = seededIds(clock, new SeededRandom(9));
      const ids: string[] = [];
      for (let n = 0; n < 20_000; n++) {
        if (n % 100 === 99) clock.advanceBy(1);
        ids.push(newId());
      }
      return ids;
    };
    const ids = make();
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(ids.length);
    expect([...ids].sort()).toEqual(ids);
    expect(make()).toEqual(ids);
    expect(Number.parseInt(ids[0]!.replace('-', '').slice(0, 12), 16)).toBe(1_700_000_000_000);
  });

  it('runs ahead of a clock that stands still', () => {
    const newId = seededIds({ now: () => 5 }, new SeededRandom(1));
    const ids = Array.from({ length: 10_000 }, newId);
    expect(new Set(ids).size).toBe(10_000);
    expect([...ids].sort()).toEqual(ids);
  });
});
