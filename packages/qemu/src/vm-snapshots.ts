import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digest, findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import { machineDir } from './vm-state.ts';

/** What is written down about a snapshot. */
export interface SnapshotMeta {
  readonly version: 1;
  readonly name: string;
  readonly runtime: string;
  /** Machines of the same shape take it. */
  readonly shape: string;
  readonly files: readonly { readonly name: string; readonly size: number }[];
}

/** The file with the memory and the devices; the others are disks. */
export const stateFile = 'state';
const magic = 'cloudos-vm-snapshot 1\n';
const headerMaxBytes = 64 * 1024;
const checksumBytes = 32;
const copyMaxMs = 600_000;

/** Snapshots of one machine, on disk. One appears, is replaced and disappears whole. */
export class VmSnapshots {
  readonly #directory: string;
  readonly #runtime: string;

  constructor(guestDirectory: string, runtime: string) {
    this.#directory = join(guestDirectory, 'snapshots');
    this.#runtime = runtime;
  }

  path(name: string): string {
    return join(this.#directory, digest(name, 24));
  }

  /** @throws CloudosError SNAPSHOT_NOT_FOUND */
  async meta(name: string): Promise<SnapshotMeta> {
    try {
      return await readMeta(this.path(name));
    } catch (error) {
      throw new CloudosError('SNAPSHOT_NOT_FOUND', `there is no snapshot called ${name}`, { cause: error });
    }
  }

  /**
   * Makes a snapshot in the place of an earlier one of that name.
   * @param write puts the state of the machine into the directory that it is given
   */
  async make(name: string, shape: string, write: (directory: string) => Promise<void>): Promise<SnapshotMeta> {
    const half = join(this.#directory, `.new-${randomBytes(6).toString('hex')}`);
    await mkdir(half, { recursive: true, mode: 0o700 });
    try {
      await write(half);
      const files: { name: string; size: number }[] = [];
      for (const file of (await readdir(half)).sort())
        files.push({ name: file, size: (await stat(join(half, file))).size });
      const meta: SnapshotMeta = { version: 1, name, runtime: this.#runtime, shape, files };
      await writeFile(join(half, 'meta.json'), JSON.stringify(meta));
      await this.#place(half, meta);
      return meta;
    } catch (error) {
      await rm(half, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends what a crash has interrupted: a snapshot that was whole takes its place, any other goes. */
  async settle(): Promise<void> {
    const entries = await readdir(this.#directory).catch(() => []);
    for (const half of entries.filter((entry) => entry.startsWith('.new-'))) {
      const meta = await readMeta(join(this.#directory, half)).catch(() => undefined);
      if (meta) await this.#place(join(this.#directory, half), meta);
      else await rm(join(this.#directory, half), { recursive: true, force: true });
    }
    for (const old of entries.filter((entry) => entry.startsWith('.old-')))
      await rm(join(this.#directory, old), { recursive: true, force: true });
  }

  async #place(half: string, { name }: SnapshotMeta): Promise<void> {
    const old = join(this.#directory, `.old-${randomBytes(6).toString('hex')}`);
    await rename(this.path(name), old).catch(() => {});
    await rename(half, this.path(name));
    await rm(old, { recursive: true, force: true });
  }

  /** All of a snapshot as bytes: a line that says what it is, the files, a checksum of all of it. */
  async *export(name: string): AsyncGenerator<Uint8Array> {
    const meta = await this.meta(name);
    const hash = createHash('sha256');
    const head = Buffer.from(`${magic}${JSON.stringify(meta)}\n`);
    hash.update(head);
    yield head;
    for (const { name: file, size } of meta.files) {
      if (size === 0) continue;
      for await (const chunk of createReadStream(join(this.path(name), file), { end: size - 1 })) {
        hash.update(chunk as Buffer);
        yield chunk as Buffer;
      }
    }
    yield hash.digest();
  }

  /** Takes what `export` gave. @throws CloudosError SNAPSHOT_INVALID; nothing is left then */
  async import(data: AsyncIterable<Uint8Array>, shape: string): Promise<SnapshotMeta> {
    const reader = new ByteReader(data);
    const head = await reader.header();
    let meta: SnapshotMeta;
    try {
      meta = JSON.parse(head.slice(magic.length)) as SnapshotMeta;
    } catch {
      throw invalid('its head is damaged');
    }
    if (meta.runtime !== this.#runtime) throw invalid(`it is of the runtime ${meta.runtime}`);
    if (meta.shape !== shape) throw invalid(`it is of another machine: ${meta.shape}, wanted ${shape}`);
    if (meta.files.some(({ name }) => !/^[a-z][a-z0-9.-]*$/.test(name) || name === 'meta.json'))
      throw invalid('its head is damaged');
    return this.make(meta.name, shape, async (directory) => {
      for (const { name, size } of meta.files) await reader.copy(size, join(directory, name));
      await reader.verify();
    });
  }
}

async function readMeta(directory: string): Promise<SnapshotMeta> {
  return JSON.parse(await readFile(join(directory, 'meta.json'), 'utf8')) as SnapshotMeta;
}

/** Reads the stream in order and adds up its checksum. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #hash = createHash('sha256');
  #rest: Buffer = Buffer.alloc(0);

  constructor(data: AsyncIterable<Uint8Array>) {
    this.#source = data[Symbol.asyncIterator]();
  }

  async #more(): Promise<Buffer> {
    const { done, value } = await this.#source.next();
    if (done) throw invalid('it is cut off');
    return Buffer.from(value);
  }

  async header(): Promise<string> {
    for (;;) {
      const second = this.#rest.indexOf(10, this.#rest.indexOf(10) + 1);
      if (this.#rest.length >= magic.length && !this.#rest.toString('latin1').startsWith(magic)) {
        throw invalid('it does not begin as one');
      }
      if (this.#rest.includes(10) && second >= 0) {
        const head = this.#rest.subarray(0, second + 1);
        this.#hash.update(head);
        this.#rest = this.#rest.subarray(second + 1);
        return head.toString();
      }
      if (this.#rest.length > headerMaxBytes) throw invalid('its head has no end');
      this.#rest = Buffer.concat([this.#rest, await this.#more()]);
    }
  }

  async copy(size: number, file: string): Promise<void> {
    const out = createWriteStream(file, { mode: 0o600 });
    const failed = new Promise<never>((_, reject) => out.once('error', reject));
    failed.catch(() => {});
    for (let left = size; left > 0; ) {
      if (this.#rest.length === 0) this.#rest = await this.#more();
      const part = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(part.length);
      this.#hash.update(part);
      left -= part.length;
      if (!out.write(part))
        await Promise.race([new Promise<void>((resolve) => out.once('drain', () => resolve())), failed]);
    }
    await Promise.race([new Promise<void>((resolve) => out.end(() => resolve())), failed]);
  }

  async verify(): Promise<void> {
    while (this.#rest.length < checksumBytes) this.#rest = Buffer.concat([this.#rest, await this.#more()]);
    const found = this.#rest.subarray(0, checksumBytes);
    if (!this.#hash.digest().equals(found)) throw invalid('its checksum does not match');
    const { done } = await this.#source.next();
    if (!done || this.#rest.length > checksumBytes) throw invalid('something follows its end');
  }
}

function invalid(why: string): CloudosError {
  return new CloudosError('SNAPSHOT_INVALID', `this is not a snapshot that the machine can take: ${why}`);
}

/** Copies disks into a directory or back; holes stay holes, and blocks are shared where the file system can. */
export async function copyDisks(disks: readonly string[], from: string, to: string): Promise<void> {
  for (const disk of disks) {
    const args = ['--sparse=always', '--reflink=auto', join(from, disk), join(to, disk)];
    await runCommand(findTool('cp') ?? 'cp', args, { timeoutMs: copyMaxMs });
  }
}

/** Puts the disks of a snapshot back, for the user that QEMU runs as. */
export async function restoreDisks(disks: readonly string[], snapshot: string, guestDirectory: string): Promise<void> {
  await copyDisks(disks, snapshot, join(guestDirectory, machineDir));
  for (const disk of disks) await chmod(join(guestDirectory, machineDir, disk), 0o600);
}
