import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, rm, stat } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { finished, pipeline } from 'node:stream/promises';
import { CloudosError } from '@cloudos/sdk';
import type { QmpClient } from './qmp.ts';
import { connectUnix, listenUnix } from './unix-socket.ts';
import { isDiskFull } from './vm-state.ts';

/** How long the memory of a machine may take to be written or read. */
const streamMaxMs = 60_000;
const pollMs = 5;
/** A state without memory takes a few milliseconds: the first looks follow each other closely. */
const closePolls = 10;

interface MigrationInfo {
  readonly status?: string;
  readonly 'error-desc'?: string;
}

/** Migration parameters that hold nothing back. */
const fast = { 'max-bandwidth': 4_000_000_000, 'downtime-limit': 1_000 };

/**
 * Writes the state of a machine that stands still to a file, through a socket that QEMU connects to: nothing of the
 * host's has to be visible to QEMU but its own directory.
 * @returns bytes written
 */
export async function saveState(qmp: QmpClient, workDir: string, file: string): Promise<number> {
  const socketName = `s${randomBytes(4).toString('hex')}`;
  const server = await listenUnix(join(workDir, socketName));
  try {
    await chmod(join(workDir, socketName), 0o666);
    const saved = receive(server, file);
    saved.catch(() => {});
    await qmp.execute('migrate-set-parameters', fast);
    await qmp.execute('migrate', { uri: `unix:${socketName}` });
    // Where the file could not be written QEMU knows only that nobody listens any more.
    await migrated(qmp).catch(async (error: unknown) => {
      await saved;
      throw error;
    });
    await saved;
    return (await stat(file)).size;
  } catch (error) {
    await rm(file, { force: true });
    if (isDiskFull(error)) {
      throw new CloudosError('DISK_FULL', `there is no space left for the snapshot at ${file}`, {
        cause: error,
      });
    }
    throw error;
  } finally {
    server.close();
    await rm(join(workDir, socketName), { force: true });
  }
}

function receive(server: Server, file: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new CloudosError('TIMED_OUT', `no state of QEMU in ${streamMaxMs} ms`)),
      streamMaxMs,
    );
    server.once('connection', (socket: Socket) => {
      pipeline(socket, createWriteStream(file, { mode: 0o600 }))
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
    server.once('close', () => clearTimeout(timer));
  });
}

/** Lets a machine that was started with `-incoming defer` take over a state from a file. It stands still then. */
export async function loadState(qmp: QmpClient, workDir: string, file: string): Promise<void> {
  const socketName = `l${randomBytes(4).toString('hex')}`;
  try {
    await qmp.execute('migrate-incoming', { uri: `unix:${socketName}` });
    const socket = await connectUnix(join(workDir, socketName), streamMaxMs);
    const sent = pipeline(createReadStream(file), socket);
    sent.catch(() => {});
    await migrated(qmp);
    socket.destroy();
    await finished(socket).catch(() => {});
  } finally {
    await rm(join(workDir, socketName), { force: true });
  }
}

/** Waits for the migration under way to complete. @throws CloudosError SNAPSHOT_INVALID, TIMED_OUT */
export async function migrated(qmp: QmpClient, timeoutMs = streamMaxMs): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (let polls = 0; ; polls++) {
    const info = await qmp.execute<MigrationInfo>('query-migrate');
    if (info.status === 'completed') return;
    if (info.status === 'failed' || info.status === 'cancelled') {
      throw new CloudosError(
        'HOST_COMMAND_FAILED',
        `QEMU: the state was not transferred: ${info['error-desc'] ?? info.status}`,
      );
    }
    if (Date.now() > deadline) {
      throw new CloudosError('TIMED_OUT', `QEMU: the state was not transferred in ${timeoutMs} ms (${info.status})`);
    }
    await new Promise((resolve) => setTimeout(resolve, polls < closePolls ? 1 : pollMs));
  }
}
