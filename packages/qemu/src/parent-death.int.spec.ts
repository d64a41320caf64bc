import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { shellWord, startTimeOf } from '@cloudos/host-tools';
import { expect, test } from 'vitest';
import { withoutPrivileges } from './bare-carrier.ts';
import { killedWithParent } from './parent-death.ts';

const root = process.geteuid?.() === 0;

test('what makes a template is gone with the driver that runs it, also as another user', async () => {
  const host = { rootless: !root, config: { user: 1000 }, accelerator: { accelerator: 'tcg', reason: '' } };
  const command = withoutPrivileges(
    host as Parameters<typeof withoutPrivileges>[0],
    killedWithParent(['sleep', '300']),
  );
  const script = `${command.map(shellWord).join(' ')} </dev/null >/dev/null 2>&1 & echo $!; wait`;
  const parent = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  await expect.poll(() => commandOf(pid), { timeout: 60_000, interval: 10 }).toBe('sleep');
  parent.kill('SIGKILL');
  await expect.poll(() => startTimeOf(pid), { timeout: 60_000, interval: 10 }).toBeUndefined();
}, 120_000);

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}
