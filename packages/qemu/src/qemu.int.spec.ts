import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chooseAccelerator, findQemu } from './accelerator.ts';
import { loopImage } from './loop-image.ts';
import { loadState, saveState } from './migration.ts';
import { QmpClient } from './qmp.ts';

const found = await findQemu();
const qemu = found?.path ?? '';
const there = test.skipIf(!found);
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cloudos-qemu-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function start(work: string, ...more: string[]) {
  const machine = ['-M', 'microvm,acpi=off,x-option-roms=off,rtc=off', '-accel', 'tcg', '-m', '8', '-nodefaults'];
  const monitor = ['-display', 'none', '-qmp', 'unix:qmp,server=on,wait=off', '-kernel', join(directory, 'loop.elf')];
  return spawn(qemu, [...machine, ...monitor, ...more], { stdio: 'ignore', cwd: work });
}

there('the probe of accelerators tells what it measured, once a boot', async () => {
  const choice = await chooseAccelerator(qemu, directory);
  expect(['kvm', 'tcg']).toContain(choice.accelerator);
  expect(choice.reason).not.toBe('');
  const files = await readdir(directory);
  if (choice.tcgMs !== undefined) {
    expect(files).toEqual(['accelerator.json']);
    await writeFile(
      join(directory, 'accelerator.json'),
      (await readFile(join(directory, 'accelerator.json'), 'utf8')).replace(choice.reason, 'kept'),
    );
    expect((await chooseAccelerator(qemu, directory)).reason).toBe('kept');
  }
});

there('a state is saved and taken over, also below a path that is too long for a socket', async () => {
  await writeFile(join(directory, 'loop.elf'), loopImage(0xffff_ffff));
  const work = join(directory, 'x'.repeat(120));
  await import('node:fs/promises').then(({ mkdir }) => mkdir(work));
  const first = start(work);
  const qmp = await QmpClient.connect(join(work, 'qmp'));
  await qmp.execute('stop');
  const size = await saveState(qmp, work, join(directory, 'state'));
  expect(size).toBeGreaterThan(10_000);
  await qmp.execute('quit');
  qmp.close();
  await once(first, 'exit');
  const second = start(work, '-incoming', 'defer');
  const again = await QmpClient.connect(join(work, 'qmp'));
  await loadState(again, work, join(directory, 'state'));
  expect(await again.execute('query-status')).toMatchObject({ running: false });
  await again.execute('cont');
  expect(await again.execute('query-status')).toMatchObject({ running: true });
  again.close();
  second.kill('SIGKILL');
  await once(second, 'exit');
  expect((await readdir(work)).filter((name) => name !== 'qmp')).toEqual([]);
});
