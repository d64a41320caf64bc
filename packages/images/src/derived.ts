import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree, withFileLock } from '@cloudos/host-tools';
import { storeFailure } from './failures.ts';

/** How long another process may take to make the same form. */
const makeMaxMs = 600_000;
const kindPattern = /^[a-z0-9][a-z0-9.-]{0,63}$/;

/** Forms of images that runtimes need, made once for each digest and kept beside it: `derived/<digest>/<kind>`. */
export class Derived {
  readonly #root: string;
  readonly #tmp: string;

  constructor(root: string, tmp: string) {
    this.#root = root;
    this.#tmp = tmp;
  }

  #of(digest: string): string {
    return join(this.#root, 'derived', digest.slice('sha256:'.length));
  }

  /** The directory of the form, or undefined when it was not made yet. */
  find(digest: string, kind: string): string | undefined {
    const path = join(this.#of(digest), kind);
    return existsSync(path) ? path : undefined;
  }

  /**
   * The directory of the form. Made by `make` in an empty directory when it is not there: whole or not at all, by one
   * process at a time.
   */
  async derive(digest: string, kind: string, make: (directory: string) => Promise<unknown>): Promise<string> {
    if (!kindPattern.test(kind)) throw new TypeError(`a form of an image is named ${kindPattern}, not ${kind}`);
    const path = join(this.#of(digest), kind);
    if (existsSync(path)) return path;
    const lock = join(this.#root, 'locks', `derive-${digest.slice('sha256:'.length, 30)}-${kind}`);
    return withFileLock(lock, () => this.#make(path, make), { waitMs: makeMaxMs, busyCode: 'IMAGE_STORE_BUSY' });
  }

  async #make(path: string, make: (directory: string) => Promise<unknown>): Promise<string> {
    if (existsSync(path)) return path;
    const half = join(this.#tmp, `derived-${randomBytes(8).toString('hex')}`);
    await mkdir(half, { recursive: true, mode: 0o755 });
    try {
      await make(half);
      await mkdir(join(path, '..'), { recursive: true });
      await rename(half, path);
      return path;
    } catch (error) {
      await removeTree(half);
      throw storeFailure(error, this.#root);
    }
  }

  async kinds(digest: string): Promise<string[]> {
    return (await readdir(this.#of(digest)).catch(() => [])).sort();
  }

  /** Every digest that something was made of. */
  async all(): Promise<string[]> {
    return (await readdir(join(this.#root, 'derived')).catch(() => [])).map((name) => `sha256:${name}`);
  }

  /** Takes all forms away at once, then frees the space. */
  async remove(digest: string): Promise<void> {
    await mkdir(this.#tmp, { recursive: true });
    const trash = join(this.#tmp, `trash-${randomBytes(8).toString('hex')}`);
    await rename(this.#of(digest), trash).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await removeTree(trash);
  }
}
