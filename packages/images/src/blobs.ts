import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { CloudosError } from '@cloudos/sdk';
import { storeFailure } from './failures.ts';

/** Largest manifest, index or configuration that is read into memory. */
const documentMaxBytes = 8 * 2 ** 20;

export interface StoredBlob {
  readonly digest: string;
  readonly size: number;
}

/** Content by its digest, in `blobs/sha256`. A blob appears whole, by renaming, after it is on the disk. */
export class Blobs {
  readonly #directory: string;
  readonly #tmp: string;

  constructor(root: string, tmp: string) {
    this.#directory = join(root, 'blobs', 'sha256');
    this.#tmp = tmp;
  }

  path(digest: string): string {
    return join(this.#directory, digest.slice('sha256:'.length));
  }

  has(digest: string): boolean {
    return existsSync(this.path(digest));
  }

  async all(): Promise<string[]> {
    return (await readdir(this.#directory).catch(() => [])).map((name) => `sha256:${name}`);
  }

  /**
   * Stores what the source gives. @param expected refuses other content with IMAGE_CORRUPT
   * @throws CloudosError DISK_FULL; nothing is stored then
   */
  async put(source: AsyncIterable<Uint8Array> | Uint8Array, expected?: string): Promise<StoredBlob> {
    await mkdir(this.#directory, { recursive: true });
    await mkdir(this.#tmp, { recursive: true });
    const half = join(this.#tmp, `blob-${randomBytes(8).toString('hex')}`);
    const file = await open(half, 'wx', 0o644);
    try {
      const { digest, size } = await writeAll(file, source instanceof Uint8Array ? [source] : source);
      if (expected !== undefined && digest !== expected) throw corrupt(expected, digest, 'what was given to import');
      await file.sync();
      await file.close();
      await rename(half, this.path(digest));
      await syncDirectory(dirname(this.path(digest)));
      return { digest, size };
    } catch (error) {
      await file.close().catch(() => {});
      await rm(half, { force: true });
      throw storeFailure(error, this.#directory);
    }
  }

  /** A small document. @throws CloudosError IMAGE_CORRUPT, IMAGE_NOT_FOUND */
  async document(digest: string): Promise<Buffer> {
    const path = this.path(digest);
    const size = (await stat(path).catch(() => undefined))?.size;
    if (size === undefined) throw lacking(digest);
    if (size > documentMaxBytes) throw corrupt(digest, `${size} bytes`, path);
    const content = await readFile(path);
    const found = digestOf(content);
    if (found !== digest) throw corrupt(digest, found, path);
    return content;
  }

  /** Content as a stream that fails with IMAGE_CORRUPT at its end when it is not what the digest says. */
  stream(digest: string): Readable {
    const path = this.path(digest);
    const hash = createHash('sha256');
    const check = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
      flush(done) {
        const found = `sha256:${hash.digest('hex')}`;
        done(found === digest ? null : corrupt(digest, found, path));
      },
    });
    const source = createReadStream(path, { highWaterMark: 256 * 1024 });
    source.on('error', (error: NodeJS.ErrnoException) =>
      check.destroy(error.code === 'ENOENT' ? lacking(digest) : error),
    );
    check.on('close', () => source.destroy());
    return source.pipe(check);
  }

  /** Reads the blob to its end. @throws CloudosError IMAGE_CORRUPT */
  async verify(digest: string): Promise<void> {
    for await (const _chunk of this.stream(digest));
  }

  async remove(digest: string): Promise<number> {
    const size = (await stat(this.path(digest)).catch(() => undefined))?.size ?? 0;
    await rm(this.path(digest), { force: true });
    return size;
  }
}

async function writeAll(
  file: FileHandle,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<StoredBlob> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of source) {
    hash.update(chunk);
    size += chunk.length;
    for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at, chunk.length - at)).bytesWritten;
  }
  return { digest: `sha256:${hash.digest('hex')}`, size };
}

export function digestOf(content: Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** Makes a rename in the directory last over a crash of the machine. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  await directory.sync().finally(() => directory.close());
}

function corrupt(expected: string, found: string, where: string): CloudosError {
  return new CloudosError('IMAGE_CORRUPT', `${where}: expected ${expected}, found ${found}`, {
    details: { expected, found },
  });
}

function lacking(digest: string): CloudosError {
  return new CloudosError('IMAGE_CORRUPT', `the blob ${digest} is not in the store`, {
    details: { expected: digest, found: null },
  });
}

/** Tells one file at that path from every other; undefined when there is none. */
export function versionOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
}
