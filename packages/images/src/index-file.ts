import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withFileLock } from '@cloudos/host-tools';
import { CloudosError, messageOf } from '@cloudos/sdk';
import { syncDirectory, versionOf } from './blobs.ts';
import { storeFailure } from './failures.ts';
import {
  type Descriptor,
  type ImageIndex,
  imageIndex,
  importedAnnotation,
  mediaTypes,
  referenceAnnotation,
} from './oci.ts';

const empty: ImageIndex = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
const waitMs = 60_000;

/**
 * `index.json`: which manifest a reference means. Replaced whole, on the disk before it is in place, by one process at a
 * time. A manifest without a reference is one that was replaced and that guests may still use.
 */
export class IndexFile {
  readonly #root: string;
  #known: { readonly version: string; readonly index: ImageIndex } | undefined;

  constructor(root: string) {
    this.#root = root;
  }

  async read(): Promise<ImageIndex> {
    const path = join(this.#root, 'index.json');
    // It is replaced whole: as long as it is the same file, it says the same.
    const version = versionOf(path);
    if (version !== undefined && this.#known?.version === version) return this.#known.index;
    const index = await this.#parse(path);
    this.#known = version === undefined || version !== versionOf(path) ? undefined : { version, index };
    return index;
  }

  async #parse(path: string): Promise<ImageIndex> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw storeFailure(error, this.#root);
    });
    if (text === undefined) return empty;
    try {
      return imageIndex.parse(JSON.parse(text));
    } catch (error) {
      throw new CloudosError('IMAGE_CORRUPT', `${path} is not the index of an OCI layout: ${messageOf(error)}`, {
        cause: error,
        remedy: 'restore it, or remove the directory and import the images again',
      });
    }
  }

  /** Lets `change` say what comes after; undefined leaves it as it is. */
  async update(change: (index: ImageIndex) => ImageIndex | undefined | Promise<ImageIndex | undefined>): Promise<void> {
    const lock = join(this.#root, 'locks', 'index');
    await withFileLock(
      lock,
      async () => {
        const next = await change(await this.read());
        if (next) await this.#write(next);
      },
      { waitMs, busyCode: 'IMAGE_STORE_BUSY' },
    ).catch((error: unknown) => {
      throw storeFailure(error, this.#root);
    });
  }

  async #write(index: ImageIndex): Promise<void> {
    await mkdir(this.#root, { recursive: true });
    await writeFile(join(this.#root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}\n');
    const half = join(this.#root, 'index.json.tmp');
    const file = await open(half, 'w', 0o644);
    try {
      await file.writeFile(`${JSON.stringify(index, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(half, join(this.#root, 'index.json'));
    await syncDirectory(this.#root);
  }
}

export function referenceOf({ annotations }: Descriptor): string | undefined {
  return annotations?.[referenceAnnotation];
}

/** The index with the reference meaning that manifest. What it meant before stays, without a reference. */
export function tagged(index: ImageIndex, manifest: Descriptor, reference: string, now: Date): ImageIndex {
  const before = index.manifests.find((entry) => referenceOf(entry) === reference);
  if (before?.digest === manifest.digest) return index;
  const { annotations: _annotations, ...bare } = manifest;
  const annotations = { [referenceAnnotation]: reference, [importedAnnotation]: now.toISOString() };
  const others = index.manifests.filter(
    (entry) => entry !== before && !(isBare(entry) && entry.digest === bare.digest),
  );
  const kept = before && !others.some(({ digest }) => digest === before.digest) ? [withoutReference(before)] : [];
  return { ...index, manifests: [...others, ...kept, { ...bare, annotations }] };
}

/** The index without the reference. The manifest stays without one when no other reference means it. */
export function untagged(index: ImageIndex, reference: string): ImageIndex {
  const gone = index.manifests.find((entry) => referenceOf(entry) === reference);
  if (!gone) return index;
  const others = index.manifests.filter((entry) => entry !== gone);
  const kept = others.some(({ digest }) => digest === gone.digest) ? [] : [withoutReference(gone)];
  return { ...index, manifests: [...others, ...kept] };
}

function isBare(entry: Descriptor): boolean {
  return referenceOf(entry) === undefined;
}

function withoutReference(entry: Descriptor): Descriptor {
  const { [referenceAnnotation]: _reference, ...annotations } = entry.annotations ?? {};
  return { ...entry, annotations };
}
