import { type LogProvider, type RecordedEvent, readBatchMax } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  Collector,
  type LogHarness,
  numbered,
  numbersOf,
  type OpenLog,
  readAll,
  seededRandom,
  turns,
} from './log-harness.ts';

/** What subscribing promises. */
export function logSubscriptions<Config>(harness: LogHarness<Config>): void {
  describe('subscribe', () => {
    let opened: OpenLog;
    let log: LogProvider;
    beforeEach(async () => {
      opened = await harness.open();
      log = opened.log;
    });
    afterEach(() => harness.closeAll());

    it('catches up, then follows', async () => {
      await log.append('a', [numbered(0), numbered(1)], 'none');
      const fromStart = new Collector(log.subscribe(0));
      const fromOne = new Collector(log.subscribe(1));
      const ahead = new Collector(log.subscribe(3));
      await fromStart.reaches(2);
      await log.append('b', [numbered(2)], 'none');
      await log.append('a', [numbered(3)], 1);
      expect(numbersOf(await fromStart.reaches(4))).toEqual([0, 1, 2, 3]);
      expect(numbersOf(await fromOne.reaches(3))).toEqual([1, 2, 3]);
      expect(numbersOf(await ahead.reaches(1))).toEqual([3]);
      expect(fromStart.events).toEqual(await readAll(log));
    });

    it('delivers only what matches the filter', async () => {
      const some = new Collector(log.subscribe(0, { streams: ['a*'], types: ['x-conformance-*'] }));
      for (let n = 0; n < 10; n++) await log.append(n % 2 ? 'b' : `a-${n}`, [numbered(n)], 'any');
      expect(numbersOf(await some.reaches(5))).toEqual([0, 2, 4, 6, 8]);
    });

    it('delivers each event once and in order while others append', async () => {
      for (let seed = 1; seed <= (harness.options.seeds ?? 20); seed++) {
        await interleave(await harness.open(), seed);
        await harness.closeAll();
      }
    });

    it('does not call again before the subscriber is ready, and loses nothing', async () => {
      let release = () => {};
      let calls = 0;
      let allowed = 1;
      let violations = 0;
      const seen: RecordedEvent[] = [];
      const done = new Promise<void>((resolve) => {
        log
          .subscribe(0, undefined, {
            ready: () =>
              new Promise<void>((go) => {
                release = () => {
                  allowed++;
                  go();
                };
              }),
          })
          .subscribe((batch) => {
            if (++calls > allowed) violations++;
            expect(batch.length).toBeLessThanOrEqual(readBatchMax);
            seen.push(...batch);
            if (seen.length === 30_001) resolve();
          });
      });
      await log.append('a', [numbered(0)], 'none');
      // Far more than is kept for subscribers, while this one is not ready.
      for (let batch = 0; batch < 30; batch++) {
        await log.append(
          'a',
          Array.from({ length: 1000 }, (_, n) => numbered(batch * 1000 + n + 1)),
          'any',
        );
      }
      await turns(3);
      expect(calls).toBe(1);
      const pump = setInterval(() => release(), 0);
      await done;
      clearInterval(pump);
      expect(violations).toBe(0);
      expect(numbersOf(seen)).toEqual(Array.from({ length: 30_001 }, (_, n) => n));
    });

    it('does not let a slow subscriber hold up a fast one, or the writer', async () => {
      const slow = new Collector(log.subscribe(0, undefined, { ready: () => new Promise(() => {}) }));
      const fast = new Collector(log.subscribe(0));
      for (let n = 0; n < 100; n++) await log.append('a', [numbered(n)], 'any');
      expect(await fast.reaches(100)).toHaveLength(100);
      expect(slow.batches).toHaveLength(1);
    });

    it('stops when it is told to', async () => {
      const collector = new Collector(log.subscribe(0));
      await log.append('a', [numbered(0)], 'none');
      await collector.reaches(1);
      collector.stop();
      await log.append('a', [numbered(1)], 0);
      await turns(5);
      expect(collector.events).toHaveLength(1);
      expect(collector.completed).toBe(false);
    });

    it('completes when the log is closed', async () => {
      await log.append('a', [numbered(0)], 'none');
      const idle = new Collector(log.subscribe(0));
      const waiting = new Collector(log.subscribe(0, undefined, { ready: () => new Promise(() => {}) }));
      await idle.reaches(1);
      await waiting.reaches(1);
      await opened.close();
      await Promise.all([idle.ended(), waiting.ended()]);
      expect([idle.completed, waiting.completed]).toEqual([true, true]);
      expect([idle.error, waiting.error]).toEqual([undefined, undefined]);
    });
  });
}

/** Writers and subscribers that come, wait and go as the seed says. */
async function interleave({ log }: OpenLog, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const appends: Promise<unknown>[] = [];
  const collectors: { from: number; collector: Collector }[] = [];
  let total = 0;
  for (let step = 0; step < 60; step++) {
    const dice = random();
    if (dice < 0.6) {
      const size = 1 + Math.floor(random() * random() * 200);
      const first = total;
      total += size;
      const events = Array.from({ length: size }, (_, n) => numbered(first + n));
      appends.push(log.append(`s-${Math.floor(random() * 5)}`, events, 'any'));
    } else if (dice < 0.8) {
      const from = Math.floor(random() * (total + 10));
      const slowness = Math.floor(random() * 4);
      const backpressure = slowness === 0 ? undefined : { ready: () => turns(slowness) };
      collectors.push({ from, collector: new Collector(log.subscribe(from, undefined, backpressure)) });
    } else await turns(Math.floor(random() * 3));
  }
  await Promise.all(appends);
  const truth = await readAll(log);
  expect(numbersOf(truth), `seed ${seed}`).toEqual(Array.from({ length: total }, (_, n) => n));
  for (const { from, collector } of collectors) {
    const expected = truth.slice(from);
    await collector.reaches(expected.length);
    await turns(2);
    expect(collector.events, `seed ${seed}, from ${from}`).toEqual(expected);
    collector.stop();
  }
}
