import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GuestPrograms } from '@cloudos/conformance';
import { ImageStore, importImage } from '@cloudos/images';

/** Builds the unikernel of this package with make and gcc. Returns its path and how to remove it. */
export function buildUnikernel(): { path: string; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'cloudos-unikernel-'));
  const source = fileURLToPath(new URL('../unikernel', import.meta.url));
  execFileSync('make', ['-s', '-C', source, `OUT=${directory}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  return { path: join(directory, 'counter.elf'), remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/** What the unikernel is called in the image store. */
export const unikernelReference = 'counter:1';

/** Brings a unikernel into the image store of a state directory. */
export async function importUnikernel(stateDir: string, from: string, reference = unikernelReference): Promise<void> {
  await importImage(ImageStore.of(stateDir), { from, form: 'unikernel' }, { reference });
}

/** The programs of the conformance suite, as words on the command line of our unikernel. */
export const unikernelPrograms: Partial<GuestPrograms> = {
  sleepForever: () => ({ command: ['serve'] }),
  ignoreTerm: () => ({ command: ['unstoppable', 'print=ready'] }),
  exitWith: (code, afterMs = 0) => ({ command: [`exit=${code}`, `after=${afterMs}`] }),
  printLines: (lines, thenRun) => ({
    command: ['complain=oops', ...lines.map((line) => `print=${line}`), ...(thenRun ? [] : ['exit=0'])],
  }),
  printSlowly: (pauseMs = 300) => ({ command: ['print=first', 'later=last', `after=${pauseMs}`, 'exit=0'] }),
  printContext: () => ({ command: ['context', 'exit=0'] }),
  httpServer: (port, body) => ({ command: [`port=${port}`, `body=${body}`] }),
  allocate: (bytes) => ({ command: [`allocate=${bytes}`] }),
  burnCpu: () => ({ command: ['burn'] }),
};
