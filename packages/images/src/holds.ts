import { mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest as shortDigest } from '@cloudos/host-tools';

/** Who uses which image: one file for each, named by a hash of the holder and with the holder in it. */
export class Holds {
  readonly #directory: string;

  constructor(root: string) {
    this.#directory = join(root, 'holds');
  }

  async add(digest: string, holder: string): Promise<void> {
    const path = this.#path(digest, holder);
    for (let tries = 0; ; tries++) {
      // A few calls on a small file cost less than the threads that would make them (which a start would wait for).
      mkdirSync(this.#of(digest), { recursive: true });
      try {
        writeFileSync(`${path}.tmp`, holder);
        return renameSync(`${path}.tmp`, path);
      } catch (error) {
        // The last holder before took the directory with it.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries > 100) throw error;
      }
    }
  }

  async drop(digest: string, holder: string): Promise<void> {
    rmSync(this.#path(digest, holder), { force: true });
    try {
      rmdirSync(this.#of(digest));
    } catch {
      // Others hold it, or nobody did.
    }
  }

  async holders(digest: string): Promise<string[]> {
    const names = (await readdir(this.#of(digest)).catch(() => [])).filter((name) => !name.endsWith('.tmp'));
    const texts = await Promise.all(
      names.map((name) => readFile(join(this.#of(digest), name), 'utf8').catch(() => '')),
    );
    return texts.filter(Boolean).sort();
  }

  /** Every hold: digest → holders. */
  async all(): Promise<Map<string, string[]>> {
    const digests = (await readdir(this.#directory).catch(() => [])).map((name) => `sha256:${name}`);
    const entries = await Promise.all(digests.map(async (digest) => [digest, await this.holders(digest)] as const));
    return new Map(entries.filter(([, holders]) => holders.length > 0));
  }

  #of(digest: string): string {
    return join(this.#directory, digest.slice('sha256:'.length));
  }

  #path(digest: string, holder: string): string {
    return join(this.#of(digest), shortDigest(holder, 24));
  }
}
