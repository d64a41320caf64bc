import { expect, it } from 'vitest';
import { chance } from './placement.fixture.ts';
import { SlotCounts } from './slot-counts.ts';

it.each([1, 2, 3])('counts by node are those of a map, few or many (seed %i)', (seed) => {
  const random = chance(seed);
  const counts = new SlotCounts();
  const known = new Map<number, number>();
  for (let step = 0; step < 4_000; step++) {
    const slot = random(seed * 20);
    const by = random(2) || (known.get(slot) ?? 0) === 0 ? 1 : -1;
    counts.add(slot, by);
    known.set(slot, (known.get(slot) ?? 0) + by);
    for (const each of [slot, random(80)]) expect(counts.get(each)).toBe(known.get(each) ?? 0);
  }
});

it('taking away what is not there changes nothing', () => {
  const counts = new SlotCounts();
  counts.add(3, -1);
  expect(counts.get(3)).toBe(0);
});
