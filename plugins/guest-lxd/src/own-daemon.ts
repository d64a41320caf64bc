import { existsSync, readdirSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DetachedDaemon, digest, findTool, LoopVolume, runCommand, unmountBelow } from '@cloudos/host-tools';
import { CloudosError, type GuestFingerprint } from '@cloudos/sdk';
import { type DaemonFlavour, daemonFlavour, type Flavour, flavours } from './daemon-flavour.ts';
import { LxdClient } from './lxd-client.ts';
import { noQuotas, poolRemedy, StoragePool } from './storage-pool.ts';

const stopMaxMs = 10_000;
/** What packages of the system add to every container of LXC (lxc.container.conf(5), `lxc.include`). */
const lxcSnippets = '/usr/share/lxc/config/common.conf.d';

export interface OwnDaemonOptions {
  readonly dataDir: string;
  /** Name of its storage pool. */
  readonly pool: string;
  /** The most that the storage pool holds, where that can be bounded. */
  readonly diskMaxBytes: number;
  /** Absent: the one that was begun with, else the one that is installed, LXD first. */
  readonly flavour?: Flavour | undefined;
}

/**
 * An LXD or Incus of this data directory alone. Containers run on when it ends, and take up with the next one. Asked to end
 * it waits for them for longer than anybody wants to: it is killed then, which its database is made for.
 */
export class OwnDaemon {
  readonly #dataDir: string;
  readonly #pool: string;
  readonly #diskMaxBytes: number;
  readonly #flavour: DaemonFlavour;
  #ensuring: Promise<void> | undefined;

  constructor({ dataDir, pool, diskMaxBytes, flavour }: OwnDaemonOptions) {
    this.#dataDir = dataDir;
    this.#pool = pool;
    this.#diskMaxBytes = diskMaxBytes;
    this.#flavour = daemonFlavour(flavour ?? begunWith(dataDir) ?? installed() ?? 'lxd');
  }

  get flavour(): Flavour {
    return this.#flavour.flavour;
  }

  get #directory(): string {
    return directoryOf(this.#dataDir, this.flavour);
  }

  get socket(): string {
    return join(this.#directory, 'unix.socket');
  }

  get isRunning(): boolean {
    return this.#daemon().running() !== undefined;
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

  async describe(): Promise<GuestFingerprint> {
    return describeDaemon(await this.version(), this.diskObstacle(), { server: this.flavour });
  }

  #program(): string {
    const { flavour, name, program, remedy } = this.#flavour;
    if (!program) throw new CloudosError('RUNTIME_UNAVAILABLE', `there is no ${name} on this host`, { remedy });
    if (process.geteuid?.() !== 0) {
      throw new CloudosError('RUNTIME_UNAVAILABLE', `${name} needs root`, { remedy: 'run as root' });
    }
    const begun = begunWith(this.#dataDir);
    if (begun === undefined || begun === flavour) return program;
    throw new CloudosError('RUNTIME_UNAVAILABLE', `this node has begun with ${begun}, and ${flavour} is configured`, {
      remedy: `configure \`flavour: ${begun}\`, or remove the guests of the node first (cloudos down)`,
    });
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

  /** @param program absent: to ask after it, or to end it */
  #daemon(program = ''): DetachedDaemon {
    return new DetachedDaemon({
      program,
      args: ['--group', 'root'],
      env: { [this.#flavour.directoryVariable]: this.#directory, ...this.#withoutIdleHooks() },
      logFile: this.#logFile,
      identityFile: join(this.#dataDir, `${this.flavour}.json`),
    });
  }

  /**
   * LXCFS hooks programs into every container: some for its start, and one that sleeps half a second when it has stopped.
   * Where LXCFS does not run they do nothing, and the daemon is told of no snippets for LXC, should there be no others.
   */
  #withoutIdleHooks(): Record<string, string> {
    const snippets = existsSync(lxcSnippets) ? readdirSync(lxcSnippets).filter((name) => name.endsWith('.conf')) : [];
    if (existsSync('/var/lib/lxcfs/proc') || snippets.some((name) => name !== '00-lxcfs.conf')) return {};
    return { [this.#flavour.templatesVariable]: join(this.#directory, 'no-templates') };
  }

  get #logFile(): string {
    return join(this.#dataDir, `${this.flavour}.log`);
  }

  /** Ends the daemon and removes all that it kept. Containers must be gone already. */
  async remove(): Promise<void> {
    if (this.isRunning)
      await new StoragePool(new LxdClient(this.socket, stopMaxMs), this.#pool).remove().catch(() => {});
    await this.#daemon().stop(stopMaxMs);
    await unmountBelow(this.#directory);
    await rm(this.#directory, { recursive: true, force: true });
    await rm(this.#logFile, { force: true });
  }
}

/** Sockets have a path of at most 107 bytes (unix(7)), so it does not lie in the data directory. */
function directoryOf(dataDir: string, flavour: Flavour): string {
  return `/var/lib/cloudos-${flavour}-${digest(dataDir, 12)}`;
}

/** The flavour that this data directory has had a daemon of. */
function begunWith(dataDir: string): Flavour | undefined {
  return flavours.find((flavour) => existsSync(directoryOf(dataDir, flavour)));
}

function installed(): Flavour | undefined {
  return flavours.find((flavour) => daemonFlavour(flavour).program !== undefined);
}

/** What is offered with a daemon of that version. @param lacking why guests have no limits of disk, if they have none */
export function describeDaemon(
  version: string,
  lacking: string | undefined,
  features: Readonly<Record<string, string>>,
): GuestFingerprint {
  return {
    available: true,
    runtime: 'lxd',
    version,
    features: { ...features, diskLimit: lacking === undefined, logsSince: findTool('perl') !== undefined },
    warnings: lacking === undefined ? [] : [{ reason: lacking, remedy: poolRemedy }],
  };
}
