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

    testWhen(supports.pods && supports.logs)('have logs of their own; one that ends is run again', async () => {
      const { instance } = await harness().run(
        programs.printLines(['of the first'], true),
        beside(harness(), { other: programs.printSlowly() }),
      );
      const other = () => harness().output(instance, { container: 'other' });
      await harness().until('the other container to be run again', async () =>
        /^first\nlast\nfirst\n/.test((await other()).stdout),
      );
      expect(await harness().find(instance)).toMatchObject({ state: 'running', attempt: 1 });
      expect((await harness().output(instance, { container: 'first' })).stdout).toBe('of the first\n');
      await expectCode(harness().output(instance, { container: 'nobody' }), 'GUEST_NOT_FOUND');
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
