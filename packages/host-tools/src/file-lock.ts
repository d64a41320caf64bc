import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CloudosError, type ErrorCode } from '@cloudos/sdk';
import { closedStdio, findTool, toolEnvironment } from './host-command.ts';
import { InstanceLocks } from './instance-locks.ts';

export interface FileLockOptions {
  /** How long another process may hold it. Default 60 s. */
  readonly waitMs?: number;
  /** Lets others in that share it too. */
  readonly shared?: boolean;
  /** What is thrown when it is not to be had in time. Default TIMED_OUT. */
  readonly busyCode?: ErrorCode;
}

const waitDefaultMs = 60_000;
/** The exit code that flock(1) is told to end with when the time is over: 1, its own, is that of failures too. */
const conflict = 75;
const within = new InstanceLocks();

/**
 * Runs an operation while no other process of the machine holds the lock of that file, which is made. The kernel gives
 * the lock back when this process ends, however it ends: it is held by flock(1), whose life hangs on a pipe of ours.
 * Takes some 3 ms. Not reentrant.
 * @throws CloudosError of `busyCode` when another one holds it for too long; HOST_COMMAND_FAILED without flock(1)
 */
export async function withFileLock<T>(
  path: string,
  operation: () => Promise<T>,
  options: FileLockOptions = {},
): Promise<T> {
  const locked = async () => {
    const release = await acquire(path, options);
    try {
      return await operation();
    } finally {
      await release();
    }
  };
  return options.shared ? locked() : within.run(path, locked);
}

async function acquire(path: string, { waitMs = waitDefaultMs, busyCode, shared }: FileLockOptions) {
  await mkdir(dirname(path), { recursive: true });
  const kind = shared ? '--shared' : '--exclusive';
  const args = [kind, '--timeout', String(waitMs / 1000), '--conflict-exit-code', String(conflict), path];
  const child = spawn(findTool('flock') ?? 'flock', [...args, 'sh', '-c', 'echo held; exec cat'], {
    env: { ...toolEnvironment },
    cwd: '/',
    stdio: closedStdio(['pipe', 'pipe', 'ignore']),
  });
  const ended = once(child, 'close');
  child.stdin?.on('error', () => {});
  const said = await Promise.race([
    once(child.stdout as NodeJS.ReadableStream, 'data').then(() => 'held' as const),
    ended.then(([code]) => Number(code)),
  ]).catch((error: unknown) => {
    throw new CloudosError('HOST_COMMAND_FAILED', `flock cannot be run: ${String(error)}`, {
      cause: error,
      remedy: 'apt-get install util-linux',
    });
  });
  if (said === conflict) {
    throw new CloudosError(busyCode ?? 'TIMED_OUT', `another process holds ${path} for more than ${waitMs} ms`);
  }
  if (said !== 'held') throw new CloudosError('HOST_COMMAND_FAILED', `flock ${path} ended with ${said}`);
  return async () => {
    child.stdin?.end();
    await ended;
  };
}
