import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DetachedDaemon, digest, findTool, LoopVolume, runCommand, unmountBelow } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import { LxdClient } from './lxd-client.ts';
import { noQuotas, StoragePool } from './storage-pool.ts';

const stopMaxMs = 10_000;

/**
 * An lxd of this data directory alone. Containers run on when it ends, and take up with the next one. Asked to end it
 * waits for them for longer than anybody wants to: it is killed then, which its database is made for.
 */
export class OwnDaemon {
  /** Sockets have a path of at most 107 bytes (unix(7)), so it does not lie in the data directory. */
  readonly #directory: string;
  readonly #dataDir: string;
  readonly #pool: string;
  readonly #diskMaxBytes: number;
  #ensuring: Promise<void> | undefined;

  /** @param diskMaxBytes the most that the storage pool holds, where that can be bounded */
  constructor(dataDir: string, pool: string, diskMaxBytes: number) {
    this.#dataDir = dataDir;
    this.#pool = pool;
    this.#diskMaxBytes = diskMaxBytes;
    this.#directory = `/var/lib/cloudos-lxd-${digest(dataDir, 12)}`;
  }

  get socket(): string {
    return join(this.#directory, 'unix.socket');
  }

  get isRunning(): boolean {
    return this.#daemon('lxd').running() !== undefined;
  }

  /** Why guests have no limits of disk with the pool that there is, or would be, while the daemon does not run. */
  diskObstacle(): string | undefined {
    // The pool is mounted below the daemon's directory; one of its own file is of btrfs.
    if (existsSync(join(this.#directory, 'disks', `${this.#pool}.img`))) return undefined;
    const begun = existsSync(join(this.#directory, 'storage-pools', this.#pool));
    return begun || LoopVolume.obstacle() ? noQuotas(this.#pool, 'dir') : undefined;
  }

  /** Of the program that would be started. @throws CloudosError RUNTIME_UNAVAILABLE */
  async version(): Promise<string> {
    return (await runCommand(this.#program(), ['--version'])).trim();
  }

  #program(): string {
    const program = findTool('lxd');
    if (!program) {
      throw new CloudosError('RUNTIME_UNAVAILABLE', 'there is no lxd on this host', { remedy: 'apt-get install lxd' });
    }
    if (process.geteuid?.() === 0) return program;
    throw new CloudosError('RUNTIME_UNAVAILABLE', 'an lxd needs root', { remedy: 'run as root' });
  }

  /** Starts the daemon unless it runs, with its storage pool. @throws CloudosError RUNTIME_UNAVAILABLE */
  async ensure(timeoutMs: number): Promise<void> {
    const program = this.#program();
    this.#ensuring ??= this.#ensure(program, timeoutMs).finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async #ensure(program: string, timeoutMs: number): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o711 });
    const client = new LxdClient(this.socket, timeoutMs);
    await this.#daemon(program).ensure(() => client.get('/1.0'), timeoutMs);
    await new StoragePool(client, this.#pool).ensure(this.#diskMaxBytes);
  }

  #daemon(program: string): DetachedDaemon {
    return new DetachedDaemon({
      program,
      args: ['--group', 'root'],
      env: { LXD_DIR: this.#directory },
      logFile: join(this.#dataDir, 'lxd.log'),
      identityFile: join(this.#dataDir, 'lxd.json'),
    });
  }

  /** Ends the daemon and removes all that it kept. Containers must be gone already. */
  async remove(): Promise<void> {
    if (this.isRunning)
      await new StoragePool(new LxdClient(this.socket, stopMaxMs), this.#pool).remove().catch(() => {});
    await this.#daemon('lxd').stop(stopMaxMs);
    await unmountBelow(this.#directory);
    await rm(this.#directory, { recursive: true, force: true });
    await rm(join(this.#dataDir, 'lxd.log'), { force: true });
  }
}
