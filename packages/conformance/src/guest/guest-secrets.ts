import { randomUUID } from 'node:crypto';
import { chmodSync, type Dirent, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect } from 'vitest';
import type { GuestSuite } from '../guest.conformance.ts';
import { expectCode, type GuestHarness, testWhen } from './guest-harness.ts';

/** Of this run alone: other runs on the machine have command lines too. */
const value = `correct horse battery ${randomUUID()}`;
/** Files that are looked into: as many as a driver may keep for a few guests. */
const filesMax = 20_000;

/** Variables that are filled from secrets. */
export function secretTests({ harness, programs, commands, supports }: GuestSuite): void {
  const put = (name: string, mode = 0o600) => {
    const path = join(harness().stateDir, 'secrets', name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, `${value}\n`, { mode });
    chmodSync(path, mode);
  };
  const env = (secret: string) => [{ name: 'TOKEN', secret }];

  describe('secrets', () => {
    testWhen(supports.secrets && supports.logs)('fill variables, and lie nowhere where others read them', async () => {
      put('group/token');
      const guest = await harness().run(programs.printContext('TOKEN'), { env: env('group/token') });
      expect((await harness().printed(guest.instance, value)).split('\n')[0]).toBe(value);
      expect(JSON.stringify(await harness().driver.list())).not.toContain(value);
      const exposed = filesOf(harness()).filter((path) => contentOf(path).includes(value));
      // What the guest wrote to its log is the guest's own.
      expect(exposed.filter((path) => !/(std)?(out|err)|log/.test(path))).toEqual([]);
    });
    // One may have them until it has become the program: env(1) is given the environment as arguments.
    testWhen(supports.secrets)(
      'stand in no command line that stays, which everybody on the node can read',
      async () => {
        put('group/token');
        const { instance } = await harness().run(programs.sleepForever(), { env: env('group/token') });
        await harness().until('no command line to have it', () => !commandLines().some((line) => line.includes(value)));
        if (!supports.exec) return;
        const session = await harness().driver.exec(instance, { command: commands.copyInput() });
        let heard = '';
        session.output.subscribe(({ data }) => {
          heard += Buffer.from(data).toString();
        });
        await session.write(Buffer.from('runs\n'));
        await harness().until('the command to run', () => heard.includes('runs'));
        await harness().until('no command line to have it', () => !commandLines().some((line) => line.includes(value)));
        session.end();
        expect(await session.exitCode).toBe(0);
      },
    );
    testWhen(supports.secrets)('that are not there, or that others can read, keep a guest from starting', async () => {
      put('open', 0o644);
      for (const [secret, code] of [
        ['missing', 'SECRET_NOT_FOUND'],
        ['open', 'SECRET_EXPOSED'],
      ] as const) {
        const spec = harness().spec(programs.sleepForever(), { env: env(secret) });
        await harness().driver.create(spec);
        await expectCode(harness().driver.start(spec.instance, 1), code);
        expect((await harness().find(spec.instance))?.state).toBe('created');
      }
    });
    testWhen(!supports.secrets)('are refused', async () => {
      const spec = harness().spec(programs.sleepForever(), { env: env('group/token') });
      await expectCode(harness().driver.create(spec), 'GUEST_SPEC_INVALID', 'GUEST_UNSUPPORTED');
      expect(await harness().find(spec.instance)).toBeUndefined();
    });
  });
}

function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}

/** Nothing of a file that is gone: its guest, or its process, is ending meanwhile. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Files of the driver that others than their owner can read. */
function filesOf(harness: GuestHarness): string[] {
  const found: string[] = [];
  const walk = (directory: string) => {
    for (const entry of entriesOf(directory)) {
      const path = join(directory, entry.name);
      const { mode } = statSync(path, { throwIfNoEntry: false }) ?? { mode: 0 };
      if (entry.isDirectory() && (mode & 0o011) !== 0) walk(path);
      if (entry.isFile() && (mode & 0o044) !== 0 && found.length < filesMax) found.push(path);
    }
  };
  if ((statSync(harness.dataDir).mode & 0o011) !== 0) walk(harness.dataDir);
  return found;
}

/** Of all processes of the node (proc(5)). */
function commandLines(): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map((pid) => contentOf(`/proc/${pid}/cmdline`).replaceAll('\0', ' '));
}
