import {
  chmodSync,
  constants,
  createWriteStream,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  type Stats,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import type { Header } from 'tar-stream';
import { directoryInside, partsOf } from './inside.ts';
import { type TarEntry, tarEntries } from './tar-entries.ts';

const whiteout = '.wh.';
const opaque = '.wh..wh..opq';

/** What an unpacked tree lacks, because this process may not make it. */
export interface Unpacked {
  readonly files: number;
  readonly devicesLeftOut: number;
}

export interface UnpackOptions {
  /** Treats names with `.wh.` as marks of removal (OCI image specification, "Whiteouts"). Default true. */
  readonly whiteouts?: boolean;
}

/**
 * Unpacks a layer over a tree. As root: with owners, modes (the setuid bit too) and devices; otherwise everything belongs
 * to this user and devices are left out. Hard links, symbolic links and times are kept; extended attributes are not
 * (capabilities of files: guests cannot gain any). Nothing outside of the tree is touched, whatever the archive says.
 * @throws CloudosError IMAGE_INVALID
 */
export async function applyLayer(root: string, layer: Readable, options: UnpackOptions = {}): Promise<Unpacked> {
  const target = new LayerTarget(root, options.whiteouts ?? true);
  for await (const entry of tarEntries(layer)) await target.add(entry);
  return target.finish();
}

class LayerTarget {
  readonly #root: string;
  readonly #whiteouts: boolean;
  readonly #isRoot = process.geteuid?.() === 0;
  /** What this layer made: whiteouts are about the layers below. */
  readonly #made = new Set<string>();
  readonly #directories: [path: string, header: Header][] = [];
  readonly #devices: [path: string, header: Header][] = [];
  #files = 0;

  constructor(root: string, whiteouts: boolean) {
    this.#root = root;
    this.#whiteouts = whiteouts;
  }

  async add(entry: TarEntry): Promise<void> {
    const { header } = entry;
    const parts = partsOf(header.name);
    const name = parts.at(-1);
    if (name === undefined) {
      if (header.type === 'directory') this.#directories.push([this.#root, header]);
      return entry.skip();
    }
    const parent = directoryInside(this.#root, parts.slice(0, -1), true) ?? this.#root;
    if (this.#whiteouts && name.startsWith(whiteout)) {
      this.#remove(parent, name);
      return entry.skip();
    }
    const path = join(parent, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found && !(found.isDirectory() && header.type === 'directory')) rmSync(path, { recursive: true });
    this.#made.add(path);
    this.#files += 1;
    await this.#make(path, entry, found);
  }

  async #make(path: string, entry: TarEntry, found: Stats | undefined): Promise<void> {
    const { header } = entry;
    switch (header.type) {
      case 'file':
      case 'contiguous-file': {
        const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
        await pipeline(entry.content(), createWriteStream(path, { fd: openSync(path, flags, 0o600) }));
        return this.#attributes(path, header);
      }
      case 'directory':
        if (!found?.isDirectory()) mkdirSync(path, 0o755);
        this.#directories.push([path, header]);
        break;
      case 'symlink':
        symlinkSync(header.linkname ?? '', path);
        this.#attributes(path, header);
        break;
      case 'link':
        this.#link(path, header);
        break;
      case 'character-device':
      case 'block-device':
      case 'fifo':
        this.#devices.push([path, header]);
        break;
      default:
        throw new CloudosError('IMAGE_INVALID', `the archive has ${header.name} of the unknown type ${header.type}`);
    }
    await entry.skip();
  }

  #link(path: string, header: Header): void {
    const parts = partsOf(header.linkname ?? '');
    const directory = directoryInside(this.#root, parts.slice(0, -1), false);
    const source = directory === undefined ? undefined : join(directory, parts.at(-1) ?? '');
    const found = source === undefined ? undefined : lstatSync(source, { throwIfNoEntry: false });
    if (source === undefined || !found || found.isDirectory()) {
      throw new CloudosError('IMAGE_INVALID', `${header.name} is a link to ${header.linkname}, which is not there`);
    }
    linkSync(source, path);
  }

  #remove(parent: string, name: string): void {
    const names = name === opaque ? readdirSync(parent) : [name.slice(whiteout.length)];
    if (names.some((gone) => gone === '' || gone === '.' || gone === '..')) {
      throw new CloudosError('IMAGE_INVALID', `the archive has a whiteout ${JSON.stringify(name)} of nothing`);
    }
    for (const gone of names) {
      const path = join(parent, gone);
      if (!this.#made.has(path)) rmSync(path, { recursive: true, force: true });
    }
  }

  /** The owner first: changing it takes the setuid bit away. */
  #attributes(path: string, header: Header): void {
    if (this.#isRoot) lchownSync(path, header.uid ?? 0, header.gid ?? 0);
    if (header.type !== 'symlink') chmodSync(path, (header.mode ?? 0o644) & 0o7777);
    const time = header.mtime ?? new Date(0);
    lutimesSync(path, time, time);
  }

  async finish(): Promise<Unpacked> {
    let left = 0;
    for (const [path, header] of this.#devices) {
      if (header.type !== 'fifo' && !this.#isRoot) left += 1;
      else if (this.#isDirectory(dirname(path)) && !lstatSync(path, { throwIfNoEntry: false })) {
        await runCommand(findTool('mknod') ?? 'mknod', mknodArguments(path, header));
        this.#attributes(path, header);
      }
    }
    // Last, and the deepest first: making something in a directory changes its time, and it may not be writable.
    for (const [path, header] of this.#directories.reverse()) {
      if (this.#isDirectory(path)) this.#attributes(path, header);
    }
    return { files: this.#files, devicesLeftOut: left };
  }

  /** Whether a directory that was there is there still: a later entry may have put a link in its place, or above it. */
  #isDirectory(path: string): boolean {
    const parts = path.slice(this.#root.length).split('/').filter(Boolean);
    return directoryInside(this.#root, parts, false) === path;
  }
}

function mknodArguments(path: string, header: Header): string[] {
  if (header.type === 'fifo') return [path, 'p'];
  const kind = header.type === 'block-device' ? 'b' : 'c';
  return [path, kind, String(header.devmajor ?? 0), String(header.devminor ?? 0)];
}
