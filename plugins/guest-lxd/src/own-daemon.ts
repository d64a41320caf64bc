import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DetachedDaemon, digest, findTool, runCommand, unmountBelow } from '@cloudos/host-tools';
import { CloudosError, hasCode } from '@cloudos/sdk';
import { LxdClient } from './lxd-client.ts';

const stopMaxMs = 10_000;

/**
 * An lxd of this data directory alone. Containers run on when it ends, and take up with the next one. Asked to end it
 * waits for them for longer than anybody wants to: it is killed then, which its database is made for.
 */
export class OwnDaemon {
  /** Sockets have a path of at most 107 bytes (unix(7)), so it does not lie in the data directory. */
  readonly #directory: string;
  readonly #dataDir: string;
  #ensuring: Promise<void> | undefined;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
    this.#directory = `/var/lib/cloudos-lxd-${digest(dataDir, 12)}`;
  }

  get socket(): string {
    return join(this.#directory, 'unix.socket');
  }

  get isRunning(): boolean {
    return this.#daemon('lxd').running() !== undefined;
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

  /** Starts the daemon unless it runs, with a storage pool of the driver `dir`. @throws CloudosError RUNTIME_UNAVAILABLE */
  async ensure(pool: string, timeoutMs: number): Promise<void> {
    const program = this.#program();
    this.#ensuring ??= this.#ensure(program, pool, timeoutMs).finally(() => {
      this.#ensuring = undefined;
    });
    return this.#ensuring;
  }

  async #ensure(program: string, pool: string, timeoutMs: number): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o711 });
    const client = new LxdClient(this.socket, timeoutMs);
    await this.#daemon(program).ensure(() => client.get('/1.0'), timeoutMs);
    if (await client.find(`/1.0/storage-pools/${encodeURIComponent(pool)}`)) return;
    await client.change('POST', '/1.0/storage-pools', { name: pool, driver: 'dir', config: {} }).catch((error) => {
      if (!hasCode(error, 'HOST_COMMAND_FAILED') || !/already exists/i.test(String(error))) throw error;
    });
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
    await this.#daemon('lxd').stop(stopMaxMs);
    await unmountBelow(this.#directory);
    await rm(this.#directory, { recursive: true, force: true });
    await rm(join(this.#dataDir, 'lxd.log'), { force: true });
  }
}
