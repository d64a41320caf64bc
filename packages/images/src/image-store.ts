import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive, removeTree, startTimeOf, withFileLock } from '@cloudos/host-tools';
import { CloudosError, messageOf } from '@cloudos/sdk';
import { Blobs, versionOf } from './blobs.ts';
import { Derived } from './derived.ts';
import { Holds } from './holds.ts';
import { type DiskImage, type Image, type ImageSummary, programOf, type StoredImage } from './image.ts';
import { IndexFile, referenceOf, tagged, untagged } from './index-file.ts';
import {
  clonableAnnotation,
  commandLineAnnotation,
  type Descriptor,
  type ImageManifest,
  imageConfig,
  imageManifest,
  importedAnnotation,
  mediaTypes,
} from './oci.ts';
import { hostReference, isDigest, normalReference } from './reference.ts';

export interface GarbageReport {
  /** Digests of manifests without a reference and without a guest. */
  readonly images: readonly string[];
  readonly blobs: number;
  readonly freedBytes: number;
}

/** Descriptions of images that are kept in memory. */
const describedMax = 256;
/** How long the collection of garbage waits for imports under way, and they for it. */
const garbageWaitMs = 600_000;

/**
 * One content-addressed store of images for all runtimes of a machine, in OCI layout (image specification 1.1) with what
 * is ours beside it: `derived/` forms made from images, `holds/` who uses which, `locks/`, `tmp/`. Any number of processes
 * may use it at once, and a crash at any point leaves it sound: content appears whole, and what was half made is removed
 * by the next collection of garbage. Content is checked against its digest whenever it is read.
 *
 * Errors: IMAGE_NOT_FOUND, IMAGE_CORRUPT, IMAGE_IN_USE, IMAGE_STORE_BUSY, DISK_FULL, PERMISSION_DENIED.
 */
export class ImageStore {
  readonly root: string;
  readonly blobs: Blobs;
  readonly #index: IndexFile;
  readonly #derived: Derived;
  readonly #holds: Holds;
  readonly #described = new Map<string, { readonly image: StoredImage; readonly version: string }>();

  /** @param root `<stateDir>/images`; made when something is stored */
  constructor(root: string) {
    this.root = root;
    this.blobs = new Blobs(root, this.tmp);
    this.#index = new IndexFile(root);
    this.#derived = new Derived(root, this.tmp);
    this.#holds = new Holds(root);
  }

  /** The store of a machine, by the state directory of its kernel. */
  static of(stateDir: string): ImageStore {
    return new ImageStore(join(stateDir, 'images'));
  }

  /** Of this process: told apart from those of processes that are gone. */
  get tmp(): string {
    return join(this.root, 'tmp', `${process.pid}-${startTimeOf(process.pid) ?? 0}`);
  }

  /** What a reference means. @throws CloudosError IMAGE_NOT_FOUND, IMAGE_CORRUPT when its manifest is damaged */
  async resolve(text: string): Promise<Image> {
    const reference = normalReference(text);
    if (reference === hostReference) return { kind: 'host', reference: hostReference };
    const { manifests } = await this.#index.read();
    const found = manifests.find((entry) => (isDigest(reference) ? entry.digest : referenceOf(entry)) === reference);
    if (found) return this.#describe(reference, found);
    const known = manifests.map(referenceOf).filter((name) => name !== undefined);
    throw new CloudosError('IMAGE_NOT_FOUND', `the image ${reference} is not in the store ${this.root}`, {
      remedy: `cloudos image import <source> --reference ${reference}${known.length > 0 ? `; known are ${known.slice(0, 10).join(', ')}` : ''}`,
    });
  }

  /** What a digest names never changes: as long as its files are the same, it is read and checked once. */
  async #describe(reference: string, entry: Descriptor): Promise<StoredImage> {
    const known = this.#described.get(entry.digest);
    if (known && known.version === this.#versionOf(known.image)) return { ...known.image, reference };
    const image = await this.#read(reference, entry);
    if (this.#described.size >= describedMax) this.#described.clear();
    this.#described.set(entry.digest, { image, version: this.#versionOf(image) });
    return image;
  }

  #versionOf({ digest, manifest }: StoredImage): string {
    return [digest, manifest.config.digest].map((part) => versionOf(this.blobs.path(part)) ?? '').join(' ');
  }

  async #read(reference: string, entry: Descriptor): Promise<StoredImage> {
    const manifest = parseManifest(await this.blobs.document(entry.digest), entry.digest);
    const parts = [...manifest.layers, ...(manifest.config.mediaType === mediaTypes.empty ? [] : [manifest.config])];
    const sizeBytes = parts.reduce((sum, { size }) => sum + size, entry.size);
    const stored = { reference, digest: entry.digest, sizeBytes, manifest };
    const type = manifest.artifactType ?? manifest.config.mediaType;
    const [first] = manifest.layers;
    if (type === mediaTypes.unikernel && first) return { ...stored, kind: 'unikernel', elf: first };
    if (type === mediaTypes.disk && first) {
      return {
        ...stored,
        kind: 'disk',
        format: first.mediaType === mediaTypes.diskQcow2 ? 'qcow2' : 'raw',
        disk: first,
        ...bootOf(manifest),
        clonable: manifest.annotations?.[clonableAnnotation] === 'true',
      };
    }
    const config = imageConfig.parse(JSON.parse((await this.blobs.document(manifest.config.digest)).toString()));
    return {
      ...stored,
      kind: 'oci',
      architecture: config.architecture,
      config,
      program: programOf(config),
      layers: manifest.layers,
    };
  }

  /** Every image with a reference, by reference, and after them those that only guests keep. */
  async list(): Promise<ImageSummary[]> {
    const { manifests } = await this.#index.read();
    const summaries = await Promise.all(manifests.map((entry) => this.#summary(entry)));
    return summaries.sort((a, b) => (a.reference < b.reference ? -1 : 1));
  }

  async #summary(entry: Descriptor): Promise<ImageSummary> {
    const { kind, sizeBytes, reference } = await this.#describe(referenceOf(entry) ?? entry.digest, entry);
    return {
      reference,
      digest: entry.digest,
      kind,
      sizeBytes,
      derived: await this.#derived.kinds(entry.digest),
      importedAt: entry.annotations?.[importedAnnotation] ?? '',
      holders: await this.#holds.holders(entry.digest),
    };
  }

  /** Lets a reference mean a manifest whose content is stored. */
  async tag(manifest: Descriptor, reference: string): Promise<void> {
    const normal = normalReference(reference);
    if (normal === hostReference || isDigest(normal)) {
      throw new CloudosError('IMAGE_INVALID', `${reference} cannot be given to an image`, { remedy: 'use name:tag' });
    }
    await this.#index.update((index) => tagged(index, manifest, normal, new Date()));
  }

  /**
   * Takes a reference away. The content goes with the next collection of garbage.
   * @throws CloudosError IMAGE_IN_USE when it is the last one of an image that guests use
   */
  async remove(text: string): Promise<void> {
    const { digest, reference } = await this.#stored(text);
    await this.#index.update(async (index) => {
      const names = index.manifests.filter((entry) => entry.digest === digest).map(referenceOf);
      const going = isDigest(reference) ? names : [reference];
      const holders = await this.#holds.holders(digest);
      if (holders.length > 0 && names.every((name) => name === undefined || going.includes(name))) {
        throw new CloudosError('IMAGE_IN_USE', `${text} is used by ${holders.slice(0, 10).join(', ')}`);
      }
      return going.reduce((next, name) => (name === undefined ? next : untagged(next, name)), index);
    });
  }

  async #stored(text: string): Promise<StoredImage> {
    const image = await this.resolve(text);
    if (image.kind !== 'host') return image;
    throw new CloudosError('IMAGE_UNSUITABLE', 'host: is the userland of the host and lies in no store');
  }

  /** The directory of a form of an image, made by `make` in an empty directory unless it is there already. */
  derive(digest: string, kind: string, make: (directory: string) => Promise<unknown>): Promise<string> {
    const found = this.#derived.find(digest, kind);
    return found === undefined
      ? this.whileImporting(() => this.#derived.derive(digest, kind, make))
      : Promise.resolve(found);
  }

  /**
   * Keeps an image for a guest until it is released, whatever becomes of its references.
   * @param holder `<runtime> <node>/<guest>`
   * @throws CloudosError IMAGE_NOT_FOUND when it was removed meanwhile
   */
  async hold(digest: string, holder: string): Promise<void> {
    await this.#holds.add(digest, holder);
    // Collecting garbage takes the manifest away first and looks for holders then: one of the two sees the other.
    const isThere = async () => (await this.#index.read()).manifests.some((entry) => entry.digest === digest);
    if (await isThere()) return;
    let found = false;
    await this.#index.update(async () => {
      found = await isThere();
      return undefined;
    });
    if (found) return;
    await this.#holds.drop(digest, holder);
    throw new CloudosError('IMAGE_NOT_FOUND', `the image ${digest} was removed from the store`);
  }

  release(digest: string, holder: string): Promise<void> {
    return this.#holds.drop(digest, holder);
  }

  /** Releases what a runtime of a node held for guests that are not there any more: holders with that beginning. */
  async sweepHolds(prefix: string, holders: ReadonlySet<string>): Promise<void> {
    for (const [digest, held] of await this.#holds.all()) {
      for (const holder of held) {
        if (holder.startsWith(prefix) && !holders.has(holder)) await this.#holds.drop(digest, holder);
      }
    }
  }

  /** Who uses which image: digest → holders. */
  holds(): Promise<Map<string, string[]>> {
    return this.#holds.all();
  }

  /** Keeps garbage from being collected while content is stored that no manifest names yet. */
  whileImporting<T>(operation: () => Promise<T>): Promise<T> {
    return withFileLock(join(this.root, 'locks', 'garbage'), operation, {
      shared: true,
      waitMs: garbageWaitMs,
      busyCode: 'IMAGE_STORE_BUSY',
    });
  }

  /** Removes what has neither a reference nor a guest, and what crashes left. Waits for imports under way. */
  async gc(): Promise<GarbageReport> {
    if (!(await stat(this.root).catch(() => undefined))) return { images: [], blobs: 0, freedBytes: 0 };
    return withFileLock(join(this.root, 'locks', 'garbage'), () => this.#collect(), {
      waitMs: garbageWaitMs,
      busyCode: 'IMAGE_STORE_BUSY',
    });
  }

  async #collect(): Promise<GarbageReport> {
    const images: string[] = [];
    await this.#index.update(async (index) => {
      const manifests: Descriptor[] = [];
      for (const entry of index.manifests) {
        if (referenceOf(entry) !== undefined || (await this.#holds.holders(entry.digest)).length > 0)
          manifests.push(entry);
        else images.push(entry.digest);
      }
      return images.length > 0 ? { ...index, manifests } : undefined;
    });
    await this.#keepHeld(images);
    const { manifests } = await this.#index.read();
    const kept = new Set(manifests.map(({ digest }) => digest));
    for (const digest of await this.#derived.all()) if (!kept.has(digest)) await this.#derived.remove(digest);
    const used = new Set<string>();
    for (const { digest } of manifests) {
      const manifest = parseManifest(await this.blobs.document(digest), digest);
      for (const { digest: part } of [manifest.config, ...manifest.layers]) used.add(part);
      used.add(digest);
    }
    let freedBytes = 0;
    let blobs = 0;
    for (const digest of await this.blobs.all()) {
      if (used.has(digest)) continue;
      freedBytes += await this.blobs.remove(digest);
      blobs += 1;
    }
    await this.#sweepTmp();
    return { images: images.filter((digest) => !kept.has(digest)), blobs, freedBytes };
  }

  /** Puts back what a guest took hold of while it was taken away. */
  async #keepHeld(images: readonly string[]): Promise<void> {
    for (const digest of images) {
      if ((await this.#holds.holders(digest)).length === 0) continue;
      const { size } = await stat(this.blobs.path(digest));
      const entry = { mediaType: mediaTypes.manifest, digest, size };
      await this.#index.update((index) => ({ ...index, manifests: [...index.manifests, entry] }));
    }
  }

  async #sweepTmp(): Promise<void> {
    for (const name of await readdir(join(this.root, 'tmp')).catch(() => [])) {
      const [pid = '', startTime = ''] = name.split('-');
      if (!isAlive({ pid: Number(pid), startTime })) await removeTree(join(this.root, 'tmp', name));
    }
  }

  /** An empty directory that this process may work in, removed afterwards. */
  async withTmp<T>(operation: (directory: string) => Promise<T>): Promise<T> {
    const directory = join(this.tmp, `work-${Math.random().toString(36).slice(2)}`);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    try {
      return await operation(directory);
    } finally {
      await removeTree(directory);
    }
  }
}

function bootOf({ layers, annotations }: ImageManifest): Pick<DiskImage, 'boot'> {
  const part = (type: string) => layers.find(({ mediaType }) => mediaType === type);
  const kernel = part(mediaTypes.diskKernel);
  if (!kernel) return {};
  const initrd = part(mediaTypes.diskInitrd);
  const commandLine = annotations?.[commandLineAnnotation] ?? '';
  return { boot: { kernel, commandLine, ...(initrd ? { initrd } : {}) } };
}

function parseManifest(content: Buffer, digest: string): ImageManifest {
  try {
    return imageManifest.parse(JSON.parse(content.toString()));
  } catch (error) {
    throw new CloudosError('IMAGE_INVALID', `${digest} is no image manifest: ${messageOf(error)}`, { cause: error });
  }
}
