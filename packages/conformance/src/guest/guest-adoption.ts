import { describe, expect, test } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, testWhen } from './guest-harness.ts';

/** What happens to guests when the driver goes away and another comes. */
export function adoptionTests({ harness, programs, supports }: GuestSuite): void {
  if (supports.adopt !== true) return;
  describe('adoption', () => {
    test('a running guest survives its driver and is taken over as it is', async () => {
      const before = await harness().run(programs.sleepForever());
      await harness().detach();
      const driver = await harness().attach();
      expect(await harness().find(before.instance)).toMatchObject({ state: 'running', attempt: 1, pid: before.pid });
      const adopted = await driver.adopt(JSON.parse(JSON.stringify(before.handle)));
      expect(adopted).toMatchObject({ instance: before.instance, state: 'running', attempt: 1, pid: before.pid });
      expect(adopted.address).toEqual(before.address);
      expect(await driver.start(before.instance, 1)).toMatchObject({ pid: before.pid });
      expect(await driver.stop(before.instance, 2_000)).toMatchObject({ reason: 'stopped', attempt: 1 });
    });
    test('the exit of an adopted guest is reported', async () => {
      const { instance, handle } = await harness().run(programs.exitWith(9, 1_000));
      await harness().detach();
      const driver = await harness().attach();
      // Where that took so long that it has ended already, its status says so.
      const { exit } = await driver.adopt(handle);
      expect(exit ?? (await harness().exitOf(instance))).toMatchObject({ exitCode: 9, reason: 'exited' });
    });
    test('an exit while nobody watched is listed with its code', async () => {
      const { instance, pid } = await harness().run(programs.exitWith(5, 200));
      await harness().detach();
      const since = Date.now();
      await harness().until('the guest to end', () => {
        if (pid === undefined || !supports.signals) return Date.now() - since > 1_000;
        return !isAlive(pid);
      });
      await harness().attach();
      const guest = await harness().until('the exit in the list', async () => {
        const found = await harness().find(instance);
        return found?.state === 'exited' && found;
      });
      expect(guest.exit).toMatchObject({ attempt: 1, exitCode: 5, reason: 'exited' });
    });
    test('a guest that was created only is taken over too', async () => {
      const spec = harness().spec(programs.sleepForever());
      const { handle } = await harness().driver.create(spec);
      await harness().detach();
      const driver = await harness().attach();
      expect(await driver.adopt(handle)).toMatchObject({ state: 'created', attempt: 0 });
      expect(await driver.start(spec.instance, 1)).toMatchObject({ state: 'running' });
    });
    test('a handle that means nothing is refused', async () => {
      const { instance, handle } = await harness().run(programs.sleepForever());
      await harness().driver.remove(instance);
      await expectCode(harness().driver.adopt(handle), 'GUEST_NOT_FOUND');
      await expectCode(harness().driver.adopt(null), 'GUEST_NOT_FOUND');
      await expectCode(harness().driver.adopt({ surprising: true }), 'GUEST_NOT_FOUND');
    });
    testWhen(supports.logs)('logs written while nobody watched are there', async () => {
      const { instance } = await harness().run(programs.printSlowly());
      await harness().detach();
      await harness().attach();
      expect(await harness().printed(instance, 'last\n')).toBe('first\nlast\n');
    });
  });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
