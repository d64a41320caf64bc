import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosError } from '@cloudos/sdk';
import { type Connection, connectTo } from '../endpoint.ts';
import { makeStateDir } from '../state-dir.ts';

/** How long a kernel in the background may take to answer. */
const detachTimeoutMs = 120_000;
const pollMs = 50;

/**
 * Starts a kernel in a process of its own and waits until it answers.
 * @throws CloudosError KERNEL_UNREACHABLE with what the process said, TIMED_OUT
 */
export async function startDetached(stackFile: string, stateDir: string): Promise<Connection & { pid: number }> {
  await makeStateDir(stateDir);
  const outputFile = join(stateDir, 'kernel.out');
  const output = openSync(outputFile, 'w', 0o600);
  const command = process.argv[1] ?? '';
  const child = spawn(
    process.execPath,
    [...process.execArgv, command, 'up', '--quiet', '--stack', stackFile, '--state-dir', stateDir],
    { detached: true, stdio: ['ignore', output, output], env: { ...process.env, NO_COLOR: '1' } },
  );
  closeSync(output);
  let ended: string | undefined;
  child.on('exit', (code, signal) => {
    ended = signal ?? `exit code ${code}`;
  });
  child.on('error', (error) => {
    ended = error.message;
  });
  const deadline = Date.now() + detachTimeoutMs;
  while (ended === undefined && Date.now() < deadline) {
    const running = await connectTo(stateDir);
    if (running && running.pid === child.pid) {
      child.unref();
      return running;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  const said = (await readFile(outputFile, 'utf8').catch(() => '')).trim();
  if (ended === undefined) {
    child.kill();
    throw new CloudosError('TIMED_OUT', `the kernel did not answer in ${detachTimeoutMs / 1000} s; it said: ${said}`);
  }
  throw new CloudosError('KERNEL_UNREACHABLE', `the kernel ended while it started (${ended}):\n${said}`, {
    remedy: `See ${join(stateDir, 'kernel.log')}.`,
  });
}
