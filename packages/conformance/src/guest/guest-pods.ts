import { guestContainer } from '@cloudos/sdk';
import { describe, expect } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, type GuestHarness, testWhen } from './guest-harness.ts';
import type { GuestProgram } from './guest-programs.ts';

/** A guest of several containers, for runtimes that have such; refused by the others. */
export function podTests({ harness, programs, commands, supports }: GuestSuite): void {
  describe('several containers', () => {
    testWhen(!supports.pods)('are refused', async () => {
      const spec = harness().spec(programs.sleepForever(), beside(harness(), { other: programs.sleepForever() }));
      await expectCode(harness().driver.create(spec), 'GUEST_UNSUPPORTED');
      expect(await harness().find(spec.instance)).toBeUndefined();
    });

    testWhen(supports.pods && supports.exec)('share an address, and have roots and commands of their own', async () => {
      const { instance } = await harness().run(
        programs.httpServer(8080, 'from the first'),
        beside(harness(), { other: programs.sleepForever() }),
      );
      const exec = (container: string | undefined, command: readonly string[]) =>
        harness().exec(instance, { command, ...(container === undefined ? {} : { container }) });
      const answer = await harness().until('an answer over the loopback', async () => {
        const { code, stdout } = await exec('other', commands.fetch('http://127.0.0.1:8080/'));
        return code === 0 && stdout;
      });
      expect(answer).toBe('from the first');
      expect((await exec('other', commands.write('/mark', 'of the other'))).code).toBe(0);
      expect(await exec('other', commands.read('/mark'))).toMatchObject({ code: 0, stdout: 'of the other' });
      for (const first of [undefined, 'first'])
        expect((await exec(first, commands.read('/mark'))).code, String(first)).not.toBe(0);
      await expectCode(exec('nobody', commands.read('/mark')), 'GUEST_NOT_FOUND');
      expect(await harness().driver.stop(instance, 10_000)).toMatchObject({ reason: 'stopped' });
    });

    testWhen(supports.pods && supports.logs && supports.exec)(
      'four beside the first have logs and commands of their own; those that end are run again, less and less often',
      async () => {
        const four = {
          slow: programs.printSlowly(),
          crashing: programs.exitWith(3, 100),
          calm: programs.sleepForever(),
          last: programs.printLines(['of the last'], true),
        };
        const { instance } = await harness().run(programs.printLines(['of the first'], true), beside(harness(), four));
        const log = async (container: string) => (await harness().output(instance, { container })).stdout;
        for (const container of ['calm', 'last', 'first']) {
          expect(
            await harness().exec(instance, { container, command: commands.write('/mark', container) }),
          ).toMatchObject({
            code: 0,
          });
        }
        for (const container of ['calm', 'last', 'first']) {
          expect((await harness().exec(instance, { container, command: commands.read('/mark') })).stdout).toBe(
            container,
          );
        }
        await harness().until('a container to be run again', async () =>
          /^first\nlast\nfirst\n/.test(await log('slow')),
        );
        expect(await log('first')).toBe('of the first\n');
        expect(await log('last')).toBe('of the last\n');
        await expectCode(harness().output(instance, { container: 'nobody' }), 'GUEST_NOT_FOUND');
        const told = (name: string) =>
          harness().containerChanges.filter((change) => change.instance === instance && change.name === name);
        const crashes = await harness().until('a container to crash three times', () => {
          const ends = told('crashing').filter(({ state }) => state === 'waiting');
          return ends.length >= 3 && ends;
        });
        for (const [index, { restarts, exit, attempt }] of crashes.entries()) {
          expect({ restarts, exit, attempt }).toEqual({
            restarts: index,
            exit: { exitCode: 3, signal: null, reason: 'exited' },
            attempt: 1,
          });
        }
        expect(crashes.slice(0, 3).map(({ backOffMs }) => backOffMs)).toEqual([1_000, 2_000, 4_000]);
        expect(told('calm')).toEqual([]);
        const now = await harness().find(instance);
        expect(now).toMatchObject({ state: 'running', attempt: 1 });
        const statuses = now?.containers ?? [];
        expect(statuses.map(({ name }) => name)).toEqual(Object.keys(four));
        expect(statuses.find(({ name }) => name === 'calm')).toEqual({ name: 'calm', state: 'running', restarts: 0 });
      },
    );

    testWhen(supports.pods)('one that is ended is told so and run again; the guest goes on', async () => {
      const { instance } = await harness().run(
        programs.sleepForever(),
        beside(harness(), { stubborn: programs.ignoreTerm() }),
      );
      const status = async () => (await harness().find(instance))?.containers?.[0];
      const end = (container: string) => harness().driver.endContainer?.(instance, container, 200) ?? Promise.resolve();
      await expectCode(end('first'), 'GUEST_NOT_FOUND');
      await expectCode(end('nobody'), 'GUEST_NOT_FOUND');
      await harness().until('the container to ignore signals', async () =>
        (await harness().output(instance, { container: 'stubborn' })).stdout.includes('ready'),
      );
      await end('stubborn');
      const exit = { exitCode: null, signal: 'SIGKILL', reason: 'signalled' };
      expect((await status())?.exit).toEqual(exit);
      await harness().until('it to run again', async () => (await status())?.state === 'running');
      const before = await status();
      expect(before).toEqual({ name: 'stubborn', state: 'running', restarts: 1, exit });
      await harness().detach();
      await harness().attach();
      expect(await status()).toEqual(before);
      expect(await harness().find(instance)).toMatchObject({ state: 'running', attempt: 1 });
    });

    testWhen(supports.pods && supports.commandCheck)('that cannot be run keep the guest from starting', async () => {
      const containers = beside(harness(), { other: { command: ['/no/such/program'] } });
      const spec = harness().spec(programs.sleepForever(), containers);
      await harness().driver.create(spec);
      await expectCode(harness().driver.start(spec.instance, 1), 'COMMAND_NOT_FOUND', 'GUEST_START_FAILED');
      expect((await harness().find(spec.instance))?.state).not.toBe('running');
    });
  });
}

/** What a template says of the containers beside `first`. */
function beside(harness: GuestHarness, programs: Readonly<Record<string, GuestProgram>>) {
  const { image } = harness.spec({ command: [] }).template;
  const containers = Object.entries(programs).map(([name, { command, args = [], env = [] }]) =>
    guestContainer.parse({ name, image, command, args, env }),
  );
  return { container: 'first', containers };
}
