import { delay } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from './virtual-clock.ts';

describe('VirtualClock', () => {
  it('fires timers by time, those of one instant in the order of setting', () => {
    const clock = new VirtualClock({ startMs: 1_000 });
    const fired: string[] = [];
    clock.after(20, () => fired.push(`late@${clock.now()}`));
    clock.after(10, () => fired.push(`a@${clock.now()}`));
    clock.after(10, () => fired.push(`b@${clock.now()}`));
    clock.advanceBy(15);
    expect(fired).toEqual(['a@1010', 'b@1010']);
    expect(clock.now()).toBe(1_015);
    clock.advanceTo(1_020);
    expect(fired.at(-1)).toBe('late@1020');
    expect(clock.pending).toBe(0);
  });

  it('does not fire what was cancelled, and cancelling twice counts once', () => {
    const clock = new VirtualClock();
    let fired = 0;
    const cancel = clock.after(5, () => fired++);
    clock.after(5, () => fired++);
    cancel();
    cancel();
    expect(clock.pending).toBe(1);
    clock.advanceBy(10);
    expect(fired).toBe(1);
  });

  it('fires timers set by timers within the same run', () => {
    const clock = new VirtualClock({ startMs: 0 });
    const at: number[] = [];
    const tick = () => {
      at.push(clock.now());
      if (at.length < 5) clock.after(10, tick);
    };
    clock.after(0, tick);
    clock.advanceTo(100);
    expect(at).toEqual([0, 10, 20, 30, 40]);
  });

  it('lets promise chains settle between timers', async () => {
    const clock = new VirtualClock({ startMs: 0 });
    const seen: string[] = [];
    const chain = async (name: string) => {
      for (let step = 0; step < 3; step++) {
        await delay(clock, 10);
        for (let hop = 0; hop < 20; hop++) await Promise.resolve();
        seen.push(`${name}${step}@${clock.now()}`);
      }
    };
    void chain('a');
    void chain('b');
    await clock.run(30);
    expect(seen).toEqual(['a0@10', 'b0@10', 'a1@20', 'b1@20', 'a2@30', 'b2@30']);
  });

  it('runs until a condition holds, and says when it does not', async () => {
    const clock = new VirtualClock({ startMs: 0 });
    let done = false;
    clock.after(70, () => {
      done = true;
    });
    expect(await clock.runUntil(() => done, 50)).toBe(false);
    expect(clock.now()).toBe(50);
    expect(await clock.runUntil(() => done, 50)).toBe(true);
    expect(clock.now()).toBe(70);
  });

  it('keeps order over many timers', () => {
    const clock = new VirtualClock({ startMs: 0 });
    let last = -1;
    let fired = 0;
    for (let n = 0; n < 10_000; n++) {
      clock.after((n * 7919) % 1_000, () => {
        expect(clock.now()).toBeGreaterThanOrEqual(last);
        last = clock.now();
        fired++;
      });
    }
    clock.advanceTo(1_000);
    expect(fired).toBe(10_000);
  });
});
