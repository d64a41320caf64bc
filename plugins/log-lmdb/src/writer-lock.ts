import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { CloudosError } from '@cloudos/sdk';

interface Holder {
  readonly pid: number;
  /** Start of the process in clock ticks since boot (`/proc/<pid>/stat`, field 22): tells a reused pid. */
  readonly startTicks: string;
  readonly since: string;
}

/**
 * Lets one process write a log. The lock is a listening socket in the abstract namespace, named after the directory's
 * device and inode and after a number in it: an inode is given again once its directory is gone, and a copy has another
 * one. Taking it is atomic and the kernel releases it with the process, however that ends. The file `writer.lock` beside
 * it names the holder, and keeps out processes of another network namespace that see its pid.
 */
export class WriterLock {
  readonly #server: Server;
  readonly #file: string;

  private constructor(server: Server, file: string) {
    this.#server = server;
    this.#file = file;
  }

  /** @throws CloudosError LOG_HELD naming the pid and the start of the holder */
  static async acquire(directory: string): Promise<WriterLock> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { dev, ino } = statSync(directory, { bigint: true });
    const file = join(directory, 'writer.lock');
    const server = await listen(`\0cloudos-log-${dev}-${ino}-${directoryId(directory)}`);
    if (!server) throw held(directory, readHolder(file));
    const holder = readHolder(file);
    if (holder && holder.pid !== process.pid && startTicks(holder.pid) === holder.startTicks) {
      server.close();
      throw held(directory, holder);
    }
    const mine: Holder = {
      pid: process.pid,
      startTicks: startTicks(process.pid) ?? '',
      since: new Date(Date.now() - process.uptime() * 1000).toISOString(),
    };
    writeFileSync(`${file}.new`, JSON.stringify(mine), { mode: 0o600 });
    renameSync(`${file}.new`, file);
    return new WriterLock(server, file);
  }

  /** The file goes first: whoever gets the socket next writes its own. */
  release(): void {
    rmSync(this.#file, { force: true });
    this.#server.close();
  }
}

/** Whether a living process other than `self` holds the log for writing, as far as can be told from here. */
export function isHeld(directory: string, self: number): boolean {
  const holder = readHolder(join(directory, 'writer.lock'));
  return holder !== undefined && holder.pid !== self && startTicks(holder.pid) === holder.startTicks;
}

/** A number that the directory has from the first time that it is opened for writing. */
function directoryId(directory: string): string {
  const file = join(directory, 'writer.id');
  const read = () => (existsSync(file) ? readFileSync(file, 'latin1').trim() : '');
  const known = read();
  if (known !== '') return known;
  const half = `${file}.${process.pid}-${randomBytes(4).toString('hex')}`;
  writeFileSync(half, randomBytes(8).toString('hex'), { mode: 0o600 });
  try {
    linkSync(half, file); // whole, and only if nobody was faster
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(half, { force: true });
  }
  return read();
}

function held(directory: string, holder: Holder | undefined): CloudosError {
  const who = holder ? `process ${holder.pid}, started ${holder.since}` : 'another process';
  return new CloudosError('LOG_HELD', `${directory}: held for writing by ${who}`, {
    details: { directory, pid: holder?.pid ?? null, since: holder?.since ?? null },
  });
}

function listen(name: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else
        reject(new CloudosError('LOG_UNAVAILABLE', `cannot take the writer lock: ${error.message}`, { cause: error }));
    });
    server.listen(name, () => {
      server.unref();
      resolve(server);
    });
  });
}

function readHolder(file: string): Holder | undefined {
  try {
    const holder = JSON.parse(readFileSync(file, 'utf8')) as Holder;
    return typeof holder.pid === 'number' ? holder : undefined;
  } catch {
    return undefined;
  }
}

function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
