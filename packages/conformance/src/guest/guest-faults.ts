import { readdirSync } from 'node:fs';
import { describe, expect } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, testWhen } from './guest-harness.ts';

/** A hundred where there is time: `CLOUDOS_TEST_CYCLES=100`. */
const cycles = Number(process.env.CLOUDOS_TEST_CYCLES ?? 6);
/** For each of them, on a busy machine. */
const cycleMaxMs = 30_000;

/** What goes wrong on a node, and what is left when it is over. */
export function faultTests({ harness, programs, supports, options }: GuestSuite): void {
  describe('faults', () => {
    testWhen(options.takeName !== undefined)(
      'a name that something else has at the runtime is said to be taken',
      async () => {
        const spec = harness().spec(programs.sleepForever());
        const free = await options.takeName?.(spec.instance, harness());
        try {
          await expectCode(harness().driver.create(spec), 'NAME_TAKEN');
          expect(await harness().find(spec.instance)).toBeUndefined();
        } finally {
          await free?.();
        }
        expect(await harness().driver.create(spec)).toMatchObject({ state: 'created' });
      },
    );
    testWhen(supports.imageDigest && options.damagedImage !== undefined)(
      'an image that was damaged is refused, and leaves no guest',
      async () => {
        const image = await options.damagedImage?.(harness().stateDir);
        const spec = harness().spec(programs.sleepForever(), { image: image ?? '' });
        const attempt = async () => {
          await harness().driver.create(spec);
          await harness().driver.start(spec.instance, 1);
        };
        await expectCode(attempt(), 'IMAGE_CORRUPT');
        expect((await harness().find(spec.instance))?.state ?? 'created').toBe('created');
      },
    );
    testWhen(options.fillDisk !== undefined)('a full disk is told, leaves no guest, and the node goes on', async () => {
      const before = await harness().run(programs.sleepForever());
      const { driver } = harness();
      const spec = harness().spec(programs.sleepForever());
      const free = await options.fillDisk?.(harness());
      try {
        const attempt = async () => {
          await driver.create(spec);
          await driver.start(spec.instance, 1);
        };
        await expectCode(attempt(), 'DISK_FULL');
        expect((await harness().find(spec.instance))?.state ?? 'created').toBe('created');
        await driver.remove(spec.instance);
      } finally {
        await free?.();
      }
      expect(await harness().find(before.instance)).toMatchObject({ state: 'running', pid: before.pid });
      expect(await harness().find(spec.instance)).toBeUndefined();
      await driver.create(spec);
      expect(await driver.start(spec.instance, 1)).toMatchObject({ state: 'running', attempt: 1 });
    });
    testWhen(options.traces !== undefined)(
      `${cycles} rounds of create and remove leave nothing`,
      async () => {
        const { driver } = harness();
        const round = async (isStopped: boolean) => {
          const { instance } = await harness().run(programs.sleepForever(), { ports: [{ port: 80, protocol: 'tcp' }] });
          if (isStopped) await driver.stop(instance, 500);
          await driver.remove(instance);
        };
        const left = async () => JSON.stringify(await options.traces?.(harness()));
        const descriptors = () => readdirSync('/proc/self/fd').length;
        // The first may make what a node keeps: forms of images, a network.
        await round(true);
        const before = { traces: await options.traces?.(harness()), descriptors: descriptors() };
        const { instance } = await harness().run(programs.sleepForever());
        expect(await options.traces?.(harness()), 'a guest that runs is seen').not.toEqual(before.traces);
        await driver.remove(instance);
        for (let count = 0; count < cycles; count++) await round(count % 2 === 0);
        await harness()
          .until('nothing to be left', async () => (await left()) === JSON.stringify(before.traces))
          .catch(() => {});
        expect(await options.traces?.(harness())).toEqual(before.traces);
        await harness().until('what is open to be closed', () => descriptors() <= before.descriptors);
      },
      cycles * cycleMaxMs,
    );
  });
}
