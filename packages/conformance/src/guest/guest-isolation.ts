import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, testWhen } from './guest-harness.ts';

/** A guest gets what its specification says, and no more. */
export function isolationTests(suite: GuestSuite): void {
  const { harness, programs, supports } = suite;
  describe('isolation', () => {
    testWhen(supports.unprivileged && supports.logs)(
      'a guest has no capability and cannot get any',
      async (context) => {
        context.skip(
          !(await harness().offers('unprivileged')),
          'the fingerprint says that this node cannot filter calls',
        );
        const { instance } = await harness().run(programs.printPrivileges());
        const { stdout: text } = await harness().said(instance);
        expect(text).toMatch(/^CapEff:\s+0+$/m);
        expect(text).toMatch(/^CapBnd:\s+0+$/m);
        expect(text).toMatch(/^NoNewPrivs:\s+1$/m);
        expect(text).toMatch(/^Seccomp:\s+2$/m);
      },
    );
    testWhen(supports.unprivileged && programs.tryPrivileges !== undefined)(
      'what only the privileged may is refused',
      async (context) => {
        context.skip(
          !(await harness().offers('unprivileged')),
          'the fingerprint says that this node cannot filter calls',
        );
        const { instance } = await harness().run(programs.tryPrivileges?.() ?? programs.sleepForever());
        const { stdout: text } = await harness().said(instance);
        expect(text).toContain(' refused\n');
        expect(text.split('\n').filter((line) => line.endsWith(' allowed'))).toEqual([]);
        expect(text.split('\n').length).toBeGreaterThan(5);
      },
    );
    testWhen(supports.readOnlyRoot)('a guest with a read-only root cannot write to it', async () => {
      const { instance } = await harness().run(programs.fill('/mark', 10), { readOnlyRoot: true });
      expect(await harness().printed(instance, / written: .*\n/)).toMatch(/^0 written: Read-only file system/m);
    });
    mountTests(suite);
  });
}

function mountTests({ harness, programs, commands, supports, options }: GuestSuite): void {
  const within = (name: string) => join(options.hostPath ?? '', name);

  testWhen(supports.mounts && supports.exec)(
    'a guest sees the paths that it may, and writes where it may',
    async () => {
      mkdirSync(within('shared'), { recursive: true });
      writeFileSync(within('shared/note'), 'from the node');
      const mounts = [
        { hostPath: within('shared'), target: '/given', readOnly: true },
        { hostPath: within('shared'), target: '/given-too', readOnly: false },
      ];
      const { instance } = await harness().run(programs.sleepForever(), { mounts });
      const exec = (command: readonly string[]) => harness().exec(instance, { command });
      expect(await exec(commands.read('/given/note'))).toMatchObject({ code: 0, stdout: 'from the node' });
      expect((await exec(commands.write('/given/note', 'changed'))).code).not.toBe(0);
      expect((await exec(commands.write('/given-too/answer', 'from the guest'))).code).toBe(0);
      expect(readFileSync(within('shared/answer'), 'utf8')).toBe('from the guest');
      await harness().driver.remove(instance);
      expect(readFileSync(within('shared/note'), 'utf8')).toBe('from the node');
      rmSync(within('shared'), { recursive: true });
    },
  );

  testWhen(supports.mounts)('a path that the configuration does not allow is refused, through a link too', async () => {
    symlinkSync('/', within('link'));
    try {
      for (const hostPath of ['/etc', within('link'), `${options.hostPath}-not`]) {
        const spec = harness().spec(programs.sleepForever(), { mounts: [{ hostPath, target: '/x', readOnly: true }] });
        await expectCode(harness().driver.create(spec), 'HOST_PATH_FORBIDDEN');
        expect(await harness().find(spec.instance)).toBeUndefined();
      }
      const missing = [{ hostPath: within('missing'), target: '/x', readOnly: true }];
      const spec = harness().spec(programs.sleepForever(), { mounts: missing });
      await expectCode(harness().driver.create(spec), 'GUEST_SPEC_INVALID');
    } finally {
      rmSync(within('link'));
    }
  });

  testWhen(!supports.mounts)('a guest with a mount is refused', async () => {
    const mounts = [{ hostPath: '/tmp', target: '/x', readOnly: true }];
    const spec = harness().spec(programs.sleepForever(), { mounts });
    await expectCode(harness().driver.create(spec), 'GUEST_SPEC_INVALID', 'GUEST_UNSUPPORTED', 'HOST_PATH_FORBIDDEN');
    expect(await harness().find(spec.instance)).toBeUndefined();
  });
}
