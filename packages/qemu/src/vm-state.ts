import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool, guestName, type ProcessIdentity, timedLogger } from '@cloudos/host-tools';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';

/** Where a virtual machine is on the network. */
export type VmNetworkState =
  | {
      readonly kind: 'bridge';
      readonly address: string;
      readonly prefix: number;
      readonly gateway: string;
      readonly mac: string;
    }
  | { readonly kind: 'ports'; readonly mac: string; readonly ports: Readonly<Record<string, number>> };

/** What is written down about a virtual machine. What it does now is told by its carrier. */
export interface VmState {
  readonly version: 1;
  readonly spec: GuestSpec;
  /** The last attempt that was begun; 0 before the first. */
  readonly attempt: number;
  /** Tells that run of QEMU from every other, of the same attempt too. */
  readonly launch?: string;
  /** The attempt before, which counts again when this one did not come to run. */
  readonly previousAttempt?: number;
  /** The launch is under way: what there is of it counts for nothing yet. */
  readonly beginning?: boolean;
  /** The launch that was asked to end. */
  readonly stopping?: string;
  readonly paused?: boolean;
  /** Who holds the machine, which stands still for a snapshot until it is let go on. */
  readonly heldBy?: ProcessIdentity;
  readonly network?: VmNetworkState;
  /** What the runtime keeps about the guest: plain data. */
  readonly own: Readonly<Record<string, unknown>>;
  /** Name of the snapshot that the next launch goes on from. */
  readonly resumeFrom?: string;
}

/** Below the directory of a guest: what QEMU may write. Everything beside it is the driver's alone. */
export const machineDir = 'm';

/** Room for the state of a machine that is stopped on a full disk. */
const reserveFile = 'reserve';
const reserve = Buffer.alloc(16 * 1024, ' ');

/** How long a half-made directory is left alone: another generation of the driver may be making it. */
const halfMadeMaxAgeMs = 60_000;

/**
 * The virtual machines of one data directory, on disk. A machine's directory appears and disappears whole, by renaming;
 * a state is replaced whole. A crash at any point leaves a machine, or a directory with a leading dot that `sweep` removes.
 */
export class VmStore {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get guestsDir(): string {
    return join(this.root, 'guests');
  }

  get exitsDir(): string {
    return join(this.root, 'exits');
  }

  directory(name: string): string {
    return join(this.guestsDir, name);
  }

  /** Words that run the logger of a machine's consoles, with times; undefined on a host without perl. */
  get logger(): readonly string[] | undefined {
    const perl = findTool('perl');
    return perl === undefined ? undefined : [perl, this.#loggerFile];
  }

  get #loggerFile(): string {
    return join(this.root, 'logger.pl');
  }

  async prepare(): Promise<void> {
    // Others may pass through: QEMU runs as a user that owns nothing but the directory of its guest.
    await mkdir(this.guestsDir, { recursive: true, mode: 0o711 });
    await mkdir(this.exitsDir, { recursive: true, mode: 0o700 });
    const half = `${this.#loggerFile}.${process.pid}`;
    await writeFile(half, timedLogger);
    await rename(half, this.#loggerFile);
  }

  async names(): Promise<string[]> {
    const names = await readdir(this.guestsDir).catch(() => []);
    return names.filter((name) => !name.startsWith('.')).sort();
  }

  async state(name: string): Promise<VmState | undefined> {
    try {
      return JSON.parse(await readFile(join(this.directory(name), 'state.json'), 'utf8')) as VmState;
    } catch {
      return undefined;
    }
  }

  /** Makes the directory of a machine; `fill` writes what else belongs into it, and may fail. */
  async make(state: VmState, fill: (directory: string) => Promise<void> = async () => {}): Promise<void> {
    const name = guestName(state.spec.instance);
    const half = join(this.guestsDir, `.new-${name}-${randomBytes(4).toString('hex')}`);
    try {
      await mkdir(half, { mode: 0o711 });
      await mkdir(join(half, machineDir), { mode: 0o700 });
      await fill(half);
      await writeFile(join(half, 'state.json'), JSON.stringify(state), { mode: 0o600 });
      await writeFile(join(half, reserveFile), reserve, { mode: 0o600 });
      await rename(half, this.directory(name));
    } catch (error) {
      await rm(half, { recursive: true, force: true });
      if (!isDiskFull(error)) throw error;
      throw new CloudosError('DISK_FULL', `there is no space left at ${this.root}`, { cause: error });
    }
  }

  /** @throws CloudosError DISK_FULL where not even its reserve has room for it */
  async save(state: VmState): Promise<void> {
    const directory = this.directory(guestName(state.spec.instance));
    const path = join(directory, 'state.json');
    const text = JSON.stringify(state);
    try {
      await writeFile(`${path}.tmp`, text, { mode: 0o600 });
      await rename(`${path}.tmp`, path);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      await rm(`${path}.tmp`, { force: true });
      await saveInReserve(join(directory, reserveFile), text, path, error);
    }
  }

  /** Sets room aside again that was used up. */
  async reserve(name: string): Promise<void> {
    const path = join(this.directory(name), reserveFile);
    if (!existsSync(path)) await writeFile(path, reserve, { mode: 0o600 });
  }

  async remove(name: string): Promise<void> {
    const trash = join(this.guestsDir, `.trash-${name}-${randomBytes(4).toString('hex')}`);
    await rename(this.directory(name), trash).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await rm(join(this.exitsDir, name), { force: true });
    await rm(trash, { recursive: true, force: true, maxRetries: 10, retryDelay: 10 });
  }

  /** Removes the directories themselves. */
  async destroy(): Promise<void> {
    for (const path of [this.guestsDir, this.exitsDir, this.#loggerFile])
      await rm(path, { recursive: true, force: true });
  }

  /** Removes what a crash left half made or half removed. */
  async sweep(now: number): Promise<void> {
    for (const name of await readdir(this.guestsDir).catch(() => [])) {
      if (!name.startsWith('.')) continue;
      const path = join(this.guestsDir, name);
      const age = now - ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
      if (name.startsWith('.trash-') || age > halfMadeMaxAgeMs) await rm(path, { recursive: true, force: true });
    }
  }
}

/** A machine that stands still on a full disk can be stopped all the same: what is written down about it has its room. */
async function saveInReserve(file: string, text: string, path: string, cause: unknown): Promise<void> {
  const full = new CloudosError('DISK_FULL', `there is no space left for ${path}`, { cause });
  if (Buffer.byteLength(text) > reserve.length) throw full;
  const kept = await open(file, 'r+').catch(() => {
    throw full;
  });
  // In the place of blanks, which JSON may end with.
  await kept.write(text, 0).finally(() => kept.close());
  await rename(file, path);
}

/** Whether that is what the system said. */
export function isDiskFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
}
