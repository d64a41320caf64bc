import { guestSupports } from '@cloudos/sdk';
import { describe, expect, test } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, testWhen } from './guest-harness.ts';

/** Create, start, stop, remove, list. */
export function lifecycleTests({ harness, programs, supports, options }: GuestSuite): void {
  describe('fingerprint', () => {
    test('says at once that the runtime is available, and what it offers', async () => {
      const print = await harness().fingerprint();
      if (!print.available) throw new Error(`not available: ${print.reason}. ${print.remedy}`);
      expect(print.runtime).not.toBe('');
      expect(print.version).not.toBe('');
      for (const warning of print.warnings) {
        expect(warning.reason).not.toBe('');
        expect(warning.remedy).not.toBe('');
      }
    });
    test('supports what has a name in the contract', () => {
      expect(Object.keys(supports).filter((name) => !(name in guestSupports))).toEqual([]);
    });
    testWhen(options.lacks !== undefined)(
      'says of what another driver of the plugin supports that it is not here',
      async () => {
        const print = await harness().fingerprint();
        for (const name of options.lacks ?? []) if (print.available) expect(print.features[name], name).toBe(false);
      },
    );
    test('claims no limit that the plugin does not support', async () => {
      const print = await harness().fingerprint();
      for (const limit of ['memoryLimit', 'cpuLimit', 'pidsLimit', 'diskLimit'] as const) {
        if (supports[limit] !== true && print.available) expect(print.features[limit], limit).not.toBe(true);
      }
    });
  });

  describe('create and start', () => {
    // The first of all: what a node makes for its first guest, it makes once.
    test('ten guests at once', async () => {
      const running = await Promise.all(Array.from({ length: 10 }, () => harness().run(programs.sleepForever())));
      expect(running.map((guest) => guest.state)).toEqual(Array(10).fill('running'));
      const pids = running.map((guest) => guest.pid).filter((pid) => pid !== undefined);
      expect(new Set(pids).size).toBe(pids.length);
      const addresses = running.map(({ address }) => address && `${address.host} ${JSON.stringify(address.ports)}`);
      const own = addresses.filter((address) => address !== undefined && !address.startsWith('127.'));
      expect(new Set(own).size).toBe(own.length);
    });
    test('creating does not run the guest; creating again finds it', async () => {
      const { driver } = harness();
      const spec = harness().spec(programs.sleepForever());
      const first = await driver.create(spec);
      expect(first).toMatchObject({ instance: spec.instance, state: 'created', attempt: 0 });
      expect(JSON.parse(JSON.stringify(first.handle))).toEqual(first.handle);
      expect(await driver.create(spec)).toEqual(first);
      expect(await harness().find(spec.instance)).toMatchObject({ state: 'created', attempt: 0 });
    });
    test('starting runs it; starting that attempt again finds it running', async () => {
      const started = await harness().run(programs.sleepForever());
      expect(started).toMatchObject({ state: 'running', attempt: 1 });
      const again = await harness().driver.start(started.instance, 1);
      expect(again).toMatchObject({ state: 'running', attempt: 1 });
      expect(again.pid).toBe(started.pid);
      expect(await harness().driver.create(harness().spec(programs.sleepForever()))).toMatchObject({ attempt: 0 });
    });
    test('another attempt of a running guest is refused', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      await expectCode(harness().driver.start(instance, 2), 'GUEST_STATE');
      expect(await harness().find(instance)).toMatchObject({ state: 'running', attempt: 1 });
    });
    test('an attempt that has ended is not run again; the next one is', async () => {
      const { instance } = await harness().run(programs.exitWith(4));
      await harness().exitOf(instance);
      expect(await harness().driver.start(instance, 1)).toMatchObject({ state: 'exited', exit: { exitCode: 4 } });
      await harness().driver.start(instance, 2);
      expect(await harness().exitOf(instance, 2)).toMatchObject({ attempt: 2, exitCode: 4, reason: 'exited' });
      await expectCode(harness().driver.start(instance, 1), 'GUEST_STATE');
    });
    test('ten times the same guest at once is one guest', async () => {
      const { driver } = harness();
      const spec = harness().spec(programs.sleepForever());
      await Promise.all(Array.from({ length: 10 }, () => driver.create(spec)));
      const started = await Promise.all(Array.from({ length: 10 }, () => driver.start(spec.instance, 1)));
      expect(new Set(started.map((guest) => guest.pid)).size).toBe(1);
      expect((await driver.list()).filter((guest) => guest.instance === spec.instance)).toHaveLength(1);
    });
    test('unusual names are names all the same', async () => {
      const { driver } = harness();
      const names = ['../../Odd name/\u00e9', 'Odd', 'odd', 'x'.repeat(200)];
      for (const instance of names) {
        await driver.create({ ...harness().spec(programs.sleepForever()), instance });
      }
      const listed = (await driver.list()).map((guest) => guest.instance);
      expect(listed.sort()).toEqual([...names].sort());
      for (const instance of names) expect(await driver.start(instance, 1)).toMatchObject({ state: 'running' });
    });
  });

  describe('exit', () => {
    test('the code is reported as it happens, and listed afterwards', async () => {
      const { instance } = await harness().run(programs.exitWith(7, 100));
      const exit = await harness().exitOf(instance);
      expect(exit).toMatchObject({ instance, attempt: 1, exitCode: 7, signal: null, reason: 'exited' });
      expect(await harness().find(instance)).toMatchObject({ state: 'exited', exit: { exitCode: 7 } });
      expect(harness().exits.filter((seen) => seen.instance === instance)).toHaveLength(1);
    });
    testWhen(supports.signals)('a signal is reported by name', async () => {
      const { instance } = await harness().run(programs.killItself());
      const exit = await harness().exitOf(instance);
      expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL', reason: 'signalled' });
    });
  });

  describe('stop', () => {
    test('a guest that ends politely has ended well before the grace is over', async () => {
      const { instance } = await harness().run(programs.sleepForever());
      const before = Date.now();
      const exit = await harness().driver.stop(instance, 60_000);
      expect(Date.now() - before).toBeLessThan(30_000);
      expect(exit).toMatchObject({ instance, attempt: 1, reason: 'stopped' });
      expect(await harness().exitOf(instance)).toMatchObject({ reason: 'stopped' });
      expect(await harness().find(instance)).toMatchObject({ state: 'exited' });
    });
    // Without its output nobody knows since when it ignores.
    testWhen(supports.logs)('a guest that ignores it is killed after the grace', async () => {
      const { instance } = await harness().run(programs.ignoreTerm());
      await harness().printed(instance, 'ready');
      const before = Date.now();
      const exit = await harness().driver.stop(instance, 400);
      const elapsed = Date.now() - before;
      expect(elapsed).toBeGreaterThanOrEqual(380);
      expect(elapsed).toBeLessThan(30_000);
      expect(exit).toMatchObject({ reason: 'stopped' });
      if (supports.signals) expect(exit).toMatchObject({ signal: 'SIGKILL', exitCode: null });
      expect(await harness().find(instance)).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
    });
    test('a guest that does not run is left as it is', async () => {
      const spec = harness().spec(programs.sleepForever());
      await harness().driver.create(spec);
      expect(await harness().driver.stop(spec.instance, 1_000)).toBeUndefined();
      expect(await harness().find(spec.instance)).toMatchObject({ state: 'created' });
    });
  });

  describe('remove', () => {
    test('a running guest is gone, and its name is free', async () => {
      const { driver } = harness();
      const spec = harness().spec(programs.sleepForever());
      await driver.create(spec);
      const { pid } = await driver.start(spec.instance, 1);
      await driver.remove(spec.instance);
      expect(await harness().find(spec.instance)).toBeUndefined();
      if (pid !== undefined && pid > 0 && supports.signals) expect(isAlive(pid)).toBe(false);
      await driver.remove(spec.instance);
      expect(await driver.create(spec)).toMatchObject({ state: 'created', attempt: 0 });
    });
    test('what is asked of an unknown guest is refused', async () => {
      const { driver } = harness();
      await expectCode(driver.start('nobody', 1), 'GUEST_NOT_FOUND');
      await expectCode(driver.stop('nobody', 0), 'GUEST_NOT_FOUND');
      await expectCode(driver.stats('nobody'), 'GUEST_NOT_FOUND', 'GUEST_UNSUPPORTED');
      await expectCode(driver.exec('nobody', { command: ['true'] }), 'GUEST_NOT_FOUND', 'GUEST_UNSUPPORTED');
      await expectCode(harness().output('nobody'), 'GUEST_NOT_FOUND', 'GUEST_UNSUPPORTED');
      await driver.remove('nobody');
    });
    test('purge removes every guest, and the driver goes on', async () => {
      const { driver } = harness();
      await Promise.all([harness().run(programs.sleepForever()), harness().run(programs.sleepForever())]);
      await driver.purge();
      expect(await driver.list()).toEqual([]);
      expect(await harness().run(programs.sleepForever())).toMatchObject({ state: 'running' });
    });
  });

  describe('bad specifications', () => {
    testWhen(supports.imageCheck)('an unknown image is refused', async () => {
      const spec = harness().spec(programs.sleepForever());
      const template = { ...spec.template, image: 'registry.invalid/no-such-image:1' };
      await expectCode(harness().driver.create({ ...spec, template }), 'IMAGE_NOT_FOUND', 'GUEST_SPEC_INVALID');
      expect(await harness().find(spec.instance)).toBeUndefined();
    });
    testWhen(supports.commandCheck)(
      'a command that the image lacks is refused, and the guest does not run',
      async () => {
        const spec = harness().spec({ command: ['/no/such/program'] });
        const attempt = async () => {
          await harness().driver.create(spec);
          await harness().driver.start(spec.instance, 1);
        };
        await expectCode(attempt(), 'COMMAND_NOT_FOUND', 'GUEST_SPEC_INVALID');
        expect((await harness().find(spec.instance))?.state ?? 'created').toBe('created');
        await harness().driver.remove(spec.instance);
      },
    );
    testWhen(options.takesAnyOptions !== true)('options that the runtime does not know are refused', async () => {
      const spec = harness().spec(programs.sleepForever(), { options: { unheard_of: 1 } });
      await expectCode(harness().driver.create(spec), 'GUEST_SPEC_INVALID');
      expect(await harness().find(spec.instance)).toBeUndefined();
    });
    testWhen(options.image === 'host:')('an image without a program of its own needs a command', async () => {
      const spec = harness().spec(programs.sleepForever());
      const { command: _command, args: _args, ...template } = spec.template;
      await expectCode(harness().driver.create({ ...spec, template }), 'GUEST_SPEC_INVALID');
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
