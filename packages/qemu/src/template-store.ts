import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Templates of machines on disk, each in a directory of its own: made once, whole or not at all, and kept until a purge. */
export class TemplateStore {
  readonly #directory: string;
  readonly #making = new Map<string, Promise<void>>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * The directory of the template with that key. Calls at the same time are one, and several drivers may work on one store.
   * @param make fills the directory of one that is not there yet
   */
  async of(key: string, make: (work: string) => Promise<void>): Promise<string> {
    const directory = join(this.#directory, key);
    if (existsSync(directory)) return directory;
    const under = this.#making.get(key) ?? this.#make(directory, make).finally(() => this.#making.delete(key));
    this.#making.set(key, under);
    await under;
    return directory;
  }

  /** Removes all. */
  remove(): Promise<void> {
    return rm(this.#directory, { recursive: true, force: true });
  }

  async #make(directory: string, make: (work: string) => Promise<void>): Promise<void> {
    const half = `${directory}.new-${process.pid}`;
    await rm(half, { recursive: true, force: true });
    await mkdir(half, { recursive: true, mode: 0o711 });
    try {
      await make(half);
      await rename(half, directory).catch((error: unknown) => {
        // Another driver was faster.
        if (!existsSync(directory)) throw error;
      });
    } finally {
      await rm(half, { recursive: true, force: true });
    }
  }
}
