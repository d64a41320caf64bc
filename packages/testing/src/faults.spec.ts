import { hasCode } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { SeededFaults } from './faults.ts';
import { SeededRandom } from './seeded-random.ts';

describe('SeededFaults', () => {
  it('fires at about the probability, and logs what fired', () => {
    const faults = new SeededFaults(new SeededRandom(11), { append: 0.1 });
    let fired = 0;
    for (let n = 0; n < 10_000; n++) if (faults.fires('append')) fired++;
    expect(fired).toBeGreaterThan(850);
    expect(fired).toBeLessThan(1_150);
    expect(faults.fired).toHaveLength(fired);
    expect(faults.count('append')).toEqual({ passes: 10_000, fired });
  });

  it('never fires at 0 or unnamed, always at 1', () => {
    const faults = new SeededFaults<'a' | 'b' | 'c'>(new SeededRandom(1), { a: 0, b: 1 });
    for (let n = 0; n < 100; n++) {
      expect(faults.fires('a')).toBe(false);
      expect(faults.fires('b')).toBe(true);
      expect(faults.fires('c')).toBe(false);
    }
  });

  it('keeps the points independent of each other and repeatable', () => {
    const passes = (noise: boolean) => {
      const faults = new SeededFaults(new SeededRandom(3), { x: 0.5, y: 0.5 });
      return Array.from({ length: 50 }, () => {
        if (noise) faults.fires('y');
        return faults.fires('x');
      });
    };
    expect(passes(true)).toEqual(passes(false));
  });

  it('throws an operational failure that names the point and the seed', () => {
    const faults = new SeededFaults(new SeededRandom(77), { start: 1 });
    let thrown: unknown;
    try {
      faults.check('start', 'GUEST_START_FAILED');
    } catch (error) {
      thrown = error;
    }
    expect(hasCode(thrown, 'GUEST_START_FAILED')).toBe(true);
    expect(String(thrown)).toContain('start (seed 77)');
  });

  it('stops when disarmed, and refuses what is no probability', () => {
    const faults = new SeededFaults(new SeededRandom(1), { a: 1 });
    faults.disarm();
    expect(faults.fires('a')).toBe(false);
    faults.arm();
    expect(faults.fires('a')).toBe(true);
    expect(() => faults.set('a', 2)).toThrow(/from 0 to 1, given 2/);
  });
});
