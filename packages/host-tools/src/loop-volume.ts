import { existsSync, rmdirSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CloudosError } from '@cloudos/sdk';
import { findTool, runCommand } from './host-command.ts';
import { mountAt, unmountBelow } from './mount-table.ts';

export interface LoopVolumeOptions {
  /** Where the file system is mounted. Nothing else may lie there. */
  readonly directory: string;
  /** The file that it lies in: sparse, so that it takes what is written to it and no more. */
  readonly image: string;
  /** The most that it may hold. Counts when it is made; one that is there keeps its size. */
  readonly sizeBytes: number;
}

/** Less than this btrfs does not begin with (mkfs.btrfs(8): 109 MiB for one device). */
export const loopVolumeMinBytes = 256 * 2 ** 20;
const makeMaxMs = 60_000;
const unmountMaxMs = 10_000;
const stepMs = 50;

/**
 * A btrfs file system in a file of bounded size, with quotas on: what daemons keep their guests in where each of them is to
 * have a limit of its own. The project quotas that overlay2 would need are no part of every kernel's xfs and ext4.
 * The mount outlives this process; whoever comes next finds it, also when the machine was started anew since.
 */
export class LoopVolume {
  readonly #options: LoopVolumeOptions;

  constructor(options: LoopVolumeOptions) {
    this.#options = options;
  }

  /** Why a volume cannot be had on this machine, and what would change it; undefined: it can. */
  static obstacle(): { readonly reason: string; readonly remedy: string } | undefined {
    if (process.geteuid?.() !== 0) return { reason: 'mounting needs root', remedy: 'run as root' };
    if (!existsSync('/dev/loop-control')) {
      return { reason: 'there are no loop devices', remedy: 'modprobe loop' };
    }
    if (!findTool('mkfs.btrfs') || !findTool('btrfs')) {
      return { reason: 'there is no btrfs', remedy: 'apt-get install btrfs-progs' };
    }
    return undefined;
  }

  /** It was made, mounted or not. */
  get exists(): boolean {
    return existsSync(this.#options.image);
  }

  get isMounted(): boolean {
    return mountAt(this.#options.directory) !== undefined;
  }

  /** Makes what is not there, and mounts what is not mounted. @throws CloudosError HOST_COMMAND_FAILED, DISK_FULL */
  async ensure(): Promise<void> {
    const { directory, image } = this.#options;
    if (this.isMounted) return;
    if (!this.exists) await this.#make();
    await mkdir(directory, { recursive: true, mode: 0o710 });
    if ((await readdir(directory)).length > 0) {
      throw new CloudosError(
        'HOST_COMMAND_FAILED',
        `${directory} is not empty: nothing is mounted over what is there`,
        {
          remedy: `move its content away, or remove ${image}`,
        },
      );
    }
    // The device goes with the last mount of it (losetup(8), autoclear, which mount(8) asks for). Blocks that were freed in a
    // full file system are of use again when it has cleaned up, which it does as often as it commits (30 s by default).
    await runCommand(findTool('mount') ?? 'mount', ['-o', 'loop,noatime,nodev,commit=5', image, directory], {
      timeoutMs: makeMaxMs,
    });
    await this.#btrfs('quota', 'enable', directory);
  }

  async #make(): Promise<void> {
    const { image, sizeBytes } = this.#options;
    const half = `${image}.new`;
    await mkdir(dirname(image), { recursive: true, mode: 0o700 });
    await rm(half, { force: true });
    const file = await open(half, 'wx', 0o600);
    await file.truncate(Math.max(sizeBytes, loopVolumeMinBytes));
    await file.close();
    // With metadata twice, as by default, room is set aside for it from the start: in a file system that data has filled
    // without that, nothing can be removed any more for want of metadata.
    const profiles = ['-m', 'dup', '-d', 'single'];
    await runCommand(findTool('mkfs.btrfs') ?? 'mkfs.btrfs', ['-q', ...profiles, half], { timeoutMs: makeMaxMs });
    await rename(half, image);
  }

  /**
   * Bounds what a subvolume may hold beyond what it shares with others: what was written since it was made of one.
   * Takes some 3 ms.
   */
  async limit(subvolume: string, exclusiveBytes: number): Promise<void> {
    await this.#btrfs('qgroup', 'limit', '-e', String(exclusiveBytes), subvolume);
  }

  #btrfs(...args: string[]): Promise<string> {
    return runCommand(findTool('btrfs') ?? 'btrfs', args, { timeoutMs: makeMaxMs });
  }

  /** Unmounts it and removes all that it holds. Nobody may use it any more. */
  async remove(): Promise<void> {
    const { directory, image } = this.#options;
    const deadline = Date.now() + unmountMaxMs;
    while (this.isMounted && Date.now() < deadline) {
      await runCommand(findTool('umount') ?? 'umount', ['-R', directory]).catch(() => later());
    }
    // Lazily at last: the file system goes when the last that holds it does.
    if (this.isMounted) await unmountBelow(directory);
    await rm(image, { force: true });
    await rm(`${image}.new`, { force: true });
    // Not with all that is in it: should something be mounted there again, it is not ours to remove.
    if (existsSync(directory)) rmdirSync(directory);
  }
}

function later(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, stepMs));
}
