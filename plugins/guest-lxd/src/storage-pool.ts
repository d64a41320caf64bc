import { join } from 'node:path';
import { findTool, LoopVolume, runCommand } from '@cloudos/host-tools';
import { CloudosError, type GuestSpec, hasCode } from '@cloudos/sdk';
import type { LxdClient } from './lxd-client.ts';

/** A file system keeps its own bookkeeping, and the daemon a file of its own, in the root of a guest. */
const diskLimitMinBytes = 4 * 2 ** 20;
const syncMaxMs = 60_000;

/** Drivers whose volumes the daemon can bound (LXD documentation, "Storage drivers", quotas). `dir` needs what is rarely on. */
const withQuotas = new Set(['btrfs', 'zfs', 'lvm', 'ceph']);

export const poolRemedy =
  'apt-get install btrfs-progs before an own daemon begins, or name a pool of btrfs, zfs or lvm';

/** Why guests in a pool have no limit of disk. */
export function noQuotas(pool: string, driver: string | undefined): string {
  return `a disk limit cannot be kept: the storage pool ${pool} is of the driver ${driver ?? 'dir'}, which has no quotas`;
}

/** A pool as the daemon shows it, as far as it matters here. */
interface Pool {
  readonly driver: string;
}

type Devices = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** The pool that roots of guests lie in. */
export class StoragePool {
  readonly #client: LxdClient;
  readonly name: string;

  constructor(client: LxdClient, name: string) {
    this.#client = client;
    this.name = name;
  }

  get #path(): string {
    return `/1.0/storage-pools/${encodeURIComponent(this.name)}`;
  }

  /** Where the daemon has it mounted, if it runs on this machine and in this mount namespace. */
  get directory(): string {
    return join(this.#client.directory, 'storage-pools', this.name);
  }

  /** Why guests have no limit of disk, as the daemon stands; undefined: they have. */
  async obstacle(): Promise<string | undefined> {
    const driver = await this.driver();
    return withQuotas.has(driver ?? '') ? undefined : noQuotas(this.name, driver);
  }

  /** Undefined: there is no such pool. */
  async driver(): Promise<string | undefined> {
    return (await this.#client.find<Pool>(this.#path))?.driver;
  }

  /** @throws CloudosError GUEST_SPEC_INVALID when the guest asks for a limit that cannot be kept */
  async check({ instance, template }: GuestSpec): Promise<void> {
    const { diskBytes } = template.limits;
    if (diskBytes === 0) return;
    const refuse = (what: string, remedy: string) => {
      throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`, { remedy });
    };
    if (diskBytes < diskLimitMinBytes) {
      refuse(`a disk limit of ${diskBytes} bytes is too small`, `the least is ${diskLimitMinBytes}`);
    }
    const driver = await this.driver();
    if (!withQuotas.has(driver ?? '')) refuse(noQuotas(this.name, driver), poolRemedy);
  }

  /** Makes it for a daemon of our own, unless it is there. */
  async ensure(diskMaxBytes: number): Promise<void> {
    if ((await this.driver()) !== undefined) return;
    const driver = LoopVolume.obstacle() ? 'dir' : 'btrfs';
    const config = driver === 'btrfs' ? { size: `${diskMaxBytes}B` } : {};
    await this.#client
      .change('POST', '/1.0/storage-pools', { name: this.name, driver, config })
      .catch((error: unknown) => {
        if (!hasCode(error, 'HOST_COMMAND_FAILED') || !/already exists/i.test(String(error))) throw error;
      });
    // The daemon turns them on with the first limit, and what was there before is not counted by then.
    if (driver === 'btrfs') await this.#btrfs('quota', 'enable', this.directory);
  }

  /**
   * Bounds what an instance may hold beyond its image. The quotas of btrfs count all that a root refers to: what it refers
   * to at first is read from them where the pool is within reach, and taken from the size of the image elsewhere.
   * @param isNew it holds nothing yet but its image
   */
  async limit(name: string, diskBytes: number, isNew: boolean, imageBytes: () => Promise<number>): Promise<void> {
    const isBtrfs = (await this.driver()) === 'btrfs';
    const known = isBtrfs && isNew ? await this.#referenced(name) : undefined;
    await this.#bound(name, diskBytes + (isBtrfs ? (known ?? (await imageBytes())) : 0));
  }

  /**
   * Another limit for an instance that may hold something: what its root referred to when it was new is told by the size that
   * it has, and taken from the size of the image where it has none.
   * @param before, after bytes beyond the image; 0: no limit
   * @returns the new size of the root (0: none), and how it is given and taken back
   */
  async rootFor(name: string, before: number, after: number, imageBytes: () => Promise<number>) {
    const { devices } = await this.#client.get<{ devices: Devices }>(`/1.0/instances/${name}`);
    const had = Number.parseInt(devices.root?.size ?? '0', 10);
    const isBtrfs = (await this.driver()) === 'btrfs';
    const base = before > 0 && had > before ? had - before : isBtrfs && after > 0 ? await imageBytes() : 0;
    const sizeBytes = after > 0 ? base + after : 0;
    return { sizeBytes, apply: () => this.#bound(name, sizeBytes), undo: () => this.#bound(name, had) };
  }

  async #bound(name: string, sizeBytes: number): Promise<void> {
    const size = sizeBytes > 0 ? { size: `${sizeBytes}B` } : {};
    const root = { type: 'disk', path: '/', pool: this.name, ...size };
    await this.#client.change('PATCH', `/1.0/instances/${name}`, { devices: { root } });
  }

  async #referenced(name: string): Promise<number | undefined> {
    const show = ['qgroup', 'show', '--sync', '--raw', '-f', join(this.directory, 'containers', name)];
    const said = await this.#btrfs(...show).catch(() => '');
    const bytes = /^0\/\d+\s+(\d+)/m.exec(said)?.[1];
    return bytes === undefined ? undefined : Number(bytes);
  }

  /** Removes it with all that nobody uses. */
  async remove(): Promise<void> {
    await this.#client.change('DELETE', this.#path);
  }

  #btrfs(...args: string[]): Promise<string> {
    return runCommand(findTool('btrfs') ?? 'btrfs', args, { timeoutMs: syncMaxMs });
  }
}
