import { describe, expect, type TestContext } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, testWhen } from './guest-harness.ts';

/** Limits, each tested by exceeding it. */
export function limitTests({ harness, programs, supports, options }: GuestSuite): void {
  const needs = async (context: TestContext, feature: string) =>
    context.skip(!(await harness().offers(feature)), `the fingerprint says that this node has no ${feature}`);
  const memoryBytes = options.memoryLimitBytes ?? 64 * 2 ** 20;

  describe('limits', () => {
    testWhen(supports.memoryLimit)(
      'a guest that takes more memory than its limit is killed for it',
      async (context) => {
        await needs(context, 'memoryLimit');
        const { instance } = await harness().run(programs.allocate(memoryBytes * 4), { limits: { memoryBytes } });
        const exit = await harness().exitOf(instance);
        expect(exit).toMatchObject({ reason: 'oom-killed', signal: 'SIGKILL', exitCode: null });
        expect(await harness().find(instance)).toMatchObject({ state: 'exited', exit: { reason: 'oom-killed' } });
      },
    );
    testWhen(supports.memoryLimit)('a guest within its memory limit runs', async (context) => {
      await needs(context, 'memoryLimit');
      const limits = { memoryBytes: memoryBytes * 4 };
      const { instance } = await harness().run(programs.allocate(memoryBytes), { limits });
      await harness().printed(instance, 'done');
      expect(await harness().find(instance)).toMatchObject({ state: 'running' });
    });
    testWhen(supports.pidsLimit)('a guest gets no more processes than its limit', async (context) => {
      await needs(context, 'pidsLimit');
      const { instance } = await harness().run(programs.spawnProcesses(60), { limits: { pids: 40 } });
      const got = Number.parseInt(await harness().printed(instance, 'running'), 10);
      expect(got).toBeLessThan(40);
      expect(got).toBeGreaterThan(0);
      expect(await harness().find(instance)).toMatchObject({ state: 'running' });
    });
    testWhen(supports.pidsLimit && programs.forkBomb !== undefined)(
      'a fork bomb fills its own limit: other guests start, and it can be stopped and removed',
      async (context) => {
        await needs(context, 'pidsLimit');
        const { driver } = harness();
        const pids = 40;
        const bomb = programs.forkBomb?.() ?? programs.sleepForever();
        const { instance } = await harness().run(bomb, { limits: { pids } });
        await harness().printed(instance, 'ready');
        if (supports.stats) {
          const most = await harness().until('the limit to be reached', async () => {
            const { pids: now } = await driver.stats(instance);
            return now === undefined || (now >= pids / 2 && now);
          });
          // The runtime's own first process may be counted with those of the guest.
          if (most !== true) expect(most).toBeLessThanOrEqual(pids + 2);
        }
        const other = await harness().run(programs.exitWith(6));
        expect(await harness().exitOf(other.instance)).toMatchObject({ exitCode: 6, reason: 'exited' });
        expect(await harness().find(instance)).toMatchObject({ state: 'running', attempt: 1 });
        expect(await driver.stop(instance, 500)).toMatchObject({ reason: 'stopped' });
        await driver.remove(instance);
        expect(await harness().find(instance)).toBeUndefined();
      },
    );
    testWhen(supports.diskLimit)(
      'a guest writes no more than its disk limit, and the node goes on',
      async (context) => {
        await needs(context, 'diskLimit');
        const limit = options.diskLimitBytes ?? 48 * 2 ** 20;
        const { instance } = await harness().run(programs.fill('/fill', limit * 2), { limits: { diskBytes: limit } });
        const said = await harness().printed(instance, / written: .*\n/);
        expect(said).toMatch(/No space left on device|Disk quota exceeded/);
        expect(Number.parseInt(said, 10)).toBeLessThanOrEqual(limit);
        expect(Number.parseInt(said, 10)).toBeGreaterThan(limit / 4);
        expect(await harness().find(instance)).toMatchObject({ state: 'running' });
        const other = await harness().run(programs.fill('/fill', 2 ** 20), { limits: { diskBytes: limit } });
        expect(await harness().printed(other.instance, / written: .*\n/)).toContain('all');
      },
    );
    testWhen(!supports.resize)('cannot be changed in place', () => {
      expect(harness().driver.resize).toBeUndefined();
    });
    testWhen(supports.resize)('are changed of a guest that runs on, and of one that does not run', async (context) => {
      await needs(context, 'resize');
      const { driver } = harness();
      const none = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
      const before = await harness().run(programs.sleepForever(), { limits: { memoryBytes } });
      const { instance } = before;
      const wide = { limits: { ...none, memoryBytes: memoryBytes * 8, cpuMillis: 500, pids: 100 } };
      expect(await driver.resize?.(instance, wide)).toMatchObject({ state: 'running', attempt: 1, pid: before.pid });
      expect(await driver.resize?.(instance, wide)).toMatchObject({ state: 'running', attempt: 1 });
      if (supports.exec && supports.memoryLimit && (await harness().offers('memoryLimit'))) {
        const { command, args = [] } = programs.allocate(memoryBytes * 2);
        const allocated = async () => {
          const session = await driver.exec(instance, { command: [...command, ...args] });
          const done = new Promise<string>((resolve) => {
            session.output.subscribe(({ data }) => {
              if (Buffer.from(data).includes('done')) resolve('done');
            });
          });
          const outcome = await Promise.race([done, session.exitCode.then((code) => (code === 0 ? 'done' : 'killed'))]);
          session.kill();
          await session.exitCode;
          return outcome;
        };
        expect(await allocated()).toBe('done');
        await driver.resize?.(instance, { limits: { ...none, memoryBytes } });
        expect(await allocated()).toBe('killed');
      }
      const spec = harness().spec(programs.allocate(memoryBytes * 4), { limits: { memoryBytes: memoryBytes * 8 } });
      await driver.create(spec);
      expect(await driver.resize?.(spec.instance, { limits: { ...none, memoryBytes } })).toMatchObject({ attempt: 0 });
      await driver.start(spec.instance, 1);
      if (supports.memoryLimit && (await harness().offers('memoryLimit'))) {
        expect(await harness().exitOf(spec.instance)).toMatchObject({ reason: 'oom-killed' });
      }
      await expectCode(driver.resize?.('nobody', wide) ?? Promise.resolve(), 'GUEST_NOT_FOUND');
    });
    testWhen(supports.cpuLimit && supports.stats)(
      'a guest gets no more processor time than its limit',
      async (context) => {
        await needs(context, 'cpuLimit');
        const { driver } = harness();
        const { instance } = await harness().run(programs.burnCpu(), { limits: { cpuMillis: 200 } });
        const nanoseconds = () => Number(process.hrtime.bigint());
        // When within a call the counter is read, nobody knows: two seconds are without the calls, the share is with them.
        const used = async () => {
          const asked = nanoseconds();
          const cpu = (await driver.stats(instance)).cpuNanos ?? 0;
          return { asked, cpu, told: nanoseconds() };
        };
        const first = await used();
        const last = await harness().until('two seconds of burning', async () => {
          const now = await used();
          return now.asked - first.told > 2e9 && now;
        });
        const share = (last.cpu - first.cpu) / (last.told - first.asked);
        expect(share).toBeLessThan(0.26);
        expect(share).toBeGreaterThan(0);
      },
    );
  });
}
