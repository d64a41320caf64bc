import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { CloudosError, messageOf } from '@cloudos/sdk';
import type { z } from 'zod';
import type { ImageStore } from './image-store.ts';
import { counted, type ImportOptions } from './import-options.ts';
import { fileInside } from './inside.ts';
import { type Descriptor, imageIndex, imageManifest, mediaTypes, ociArchitecture, referenceAnnotation } from './oci.ts';

const indexTypes: readonly string[] = [mediaTypes.index, 'application/vnd.docker.distribution.manifest.list.v2+json'];
/** An index may point to indexes: as deep as that. */
const depthMax = 3;

/**
 * Imports from an OCI layout: every image that has a reference, or the only one. Of an image for several platforms the one
 * for this machine. @returns the references
 */
export async function importLayout(store: ImageStore, directory: string, options: ImportOptions): Promise<string[]> {
  const source = new Layout(directory);
  const index = await source.document(undefined, imageIndex);
  if (index.manifests.length === 0) throw new CloudosError('IMAGE_INVALID', `the OCI layout ${directory} is empty`);
  if (options.reference !== undefined && index.manifests.length > 1) {
    throw new CloudosError(
      'IMAGE_INVALID',
      `the OCI layout ${directory} holds ${index.manifests.length} images: one reference is not enough`,
      { remedy: 'leave the reference away to keep their own' },
    );
  }
  const references: string[] = [];
  for (const entry of index.manifests) {
    const reference = options.reference ?? entry.annotations?.[referenceAnnotation];
    if (reference === undefined) {
      throw new CloudosError('IMAGE_INVALID', `an image of the OCI layout ${directory} has no name`, {
        remedy: 'give it one with --reference',
      });
    }
    const manifest = await importManifest(store, source, entry, options, depthMax);
    await store.tag(manifest, reference);
    references.push(reference);
  }
  return references;
}

async function importManifest(
  store: ImageStore,
  source: Layout,
  entry: Descriptor,
  options: ImportOptions,
  depth: number,
): Promise<Descriptor> {
  if (indexTypes.includes(entry.mediaType)) {
    if (depth === 0) throw new CloudosError('IMAGE_INVALID', `the index ${entry.digest} points to indexes without end`);
    const { manifests } = await source.document(entry.digest, imageIndex);
    const fits = manifests.find(
      ({ platform }) => platform?.os === 'linux' && platform.architecture === ociArchitecture(),
    );
    const chosen = fits ?? (manifests.length === 1 ? manifests[0] : undefined);
    if (chosen) return importManifest(store, source, chosen, options, depth - 1);
    const offered = manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`).join(', ');
    throw new CloudosError('IMAGE_INVALID', `the image is not for linux/${ociArchitecture()}; it is for ${offered}`);
  }
  const manifest = await source.document(entry.digest, imageManifest);
  for (const part of [manifest.config, ...manifest.layers]) {
    await store.blobs.put(source.content(part, options.onProgress), part.digest);
  }
  await store.blobs.put(await readFile(source.path(entry.digest)), entry.digest);
  return { mediaType: entry.mediaType, digest: entry.digest, size: entry.size };
}

/** An OCI layout that is read. */
class Layout {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  path(digest: string): string {
    const path = fileInside(this.#directory, `blobs/sha256/${digest.slice('sha256:'.length)}`);
    if (path) return path;
    throw new CloudosError('IMAGE_INVALID', `the OCI layout ${this.#directory} lacks ${digest}`);
  }

  /** A blob, or `index.json` when no digest is given. */
  async document<T>(digest: string | undefined, schema: z.ZodType<T>): Promise<T> {
    const path = digest === undefined ? fileInside(this.#directory, 'index.json') : this.path(digest);
    if (path === undefined) throw new CloudosError('IMAGE_INVALID', `${this.#directory} has no index.json`);
    try {
      return schema.parse(JSON.parse(await readFile(path, 'utf8')));
    } catch (error) {
      throw new CloudosError('IMAGE_INVALID', `${path} is not what the image specification says: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async *content(part: Descriptor, onProgress: ImportOptions['onProgress']): AsyncGenerator<Uint8Array> {
    const path = this.path(part.digest);
    const { size } = await stat(path);
    yield* counted(createReadStream(path), part.digest.slice(0, 19), size, onProgress);
  }
}
