import { describe, expect, it } from 'vitest';
import { FitIndex } from './fit-index.ts';
import { chance } from './placement.fixture.ts';

const everyone = (slots: number) => new Uint32Array((slots + 31) >>> 5).fill(0xffff_ffff);

/** Every slot that a search comes to, in its order. */
function found(
  index: FitIndex,
  slots: number,
  cpu: number,
  memory: number,
  start = 0,
  among = everyone(slots),
): number[] {
  const seen: number[] = [];
  index.search(cpu, memory, start, {
    among,
    visit(slot) {
      seen.push(slot);
      return true;
    },
  });
  return seen;
}

describe('the index of nodes', () => {
  it.each([1, 2, 3])('comes to every node that has room, and to each once (seed %i)', (seed) => {
    const random = chance(seed);
    const slots = 300;
    const index = new FitIndex();
    index.grow(slots);
    const free = Array.from({ length: slots }, () => ({ open: false, cpu: 0, memory: 0 }));
    for (let step = 0; step < 3_000; step++) {
      const slot = random(slots);
      const now = { open: random(5) > 0, cpu: random(64_001), memory: random(257) * 2 ** 30 };
      free[slot] = now;
      index.put(slot, now.open, now.cpu, now.memory);
      if (step % 50 !== 0) continue;
      const [cpu, memory] = [random(20_000), random(64) * 2 ** 30];
      const seen = found(index, slots, cpu, memory, random(1_000));
      expect(new Set(seen).size).toBe(seen.length);
      const fits = free.flatMap((each, at) => (each.open && each.cpu >= cpu && each.memory >= memory ? [at] : []));
      expect(fits.filter((at) => !seen.includes(at))).toEqual([]);
      expect(seen.filter((at) => !free[at]!.open)).toEqual([]);
    }
  });

  it('goes from the fullest to the emptiest', () => {
    const index = new FitIndex();
    index.grow(64);
    const cores = [32, 1, 8, 2, 16, 4];
    for (const [slot, core] of cores.entries()) index.put(slot, true, core * 1_000, core * 2 ** 32);
    expect(found(index, 64, 1_500, 2 ** 30).map((slot) => cores[slot])).toEqual([2, 4, 8, 16, 32]);
  });

  it('holds what follows from what is free, not from how it came to be', () => {
    const [one, other] = [new FitIndex(), new FitIndex()];
    one.grow(32);
    other.grow(32);
    for (let slot = 0; slot < 20; slot++) {
      one.put(slot, true, 64_000, 2 ** 36);
      one.put(slot, true, 500 * slot, 2 ** 30);
    }
    for (let slot = 19; slot >= 0; slot--) other.put(slot, true, 500 * slot, 2 ** 30);
    expect(found(one, 32, 100, 0, 7)).toEqual(found(other, 32, 100, 0, 7));
  });

  it('takes amounts beyond both ends of its scale', () => {
    const index = new FitIndex();
    index.grow(40);
    index.put(0, true, 0, 0);
    index.put(1, true, -5_000, -1);
    index.put(2, true, 1e12, 2 ** 60);
    expect(found(index, 40, 0, 0).sort()).toEqual([0, 1, 2]);
    expect(found(index, 40, 1e9, 2 ** 50)).toEqual([2]);
  });

  it('keeps what it has when it grows, and begins anywhere', () => {
    const index = new FitIndex();
    index.grow(8);
    for (let slot = 0; slot < 8; slot++) index.put(slot, true, 1_000, 2 ** 30);
    index.grow(5_000);
    index.put(4_999, true, 1_000, 2 ** 30);
    for (const start of [0, 1, 31, 4_999, 2 ** 32 - 1]) expect(found(index, 5_000, 500, 0, start)).toHaveLength(9);
  });

  it('leaves out who may not be taken, and ends when the search has enough', () => {
    const index = new FitIndex();
    index.grow(64);
    for (let slot = 0; slot < 64; slot++) index.put(slot, true, 1_000, 2 ** 30);
    const odd = new Uint32Array([0xaaaa_aaaa, 0xaaaa_aaaa]);
    expect(found(index, 64, 1, 1, 0, odd).every((slot) => slot % 2 === 1)).toBe(true);
    let visits = 0;
    index.search(1, 1, 0, { among: everyone(64), visit: () => ++visits < 3 });
    expect(visits).toBe(3);
  });
});
