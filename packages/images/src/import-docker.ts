import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { CloudosError, messageOf } from '@cloudos/sdk';
import { z } from 'zod';
import { compressionOf } from './compression.ts';
import type { ImageStore } from './image-store.ts';
import { counted, type ImportOptions } from './import-options.ts';
import { fileInside } from './inside.ts';
import { type Descriptor, imageConfig, mediaTypes } from './oci.ts';

const dockerManifest = z.array(
  z.looseObject({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()) }),
);

/** Imports what `docker save` wrote, unpacked into a directory (Docker image specification 1.2). @returns the references */
export async function importDockerArchive(
  store: ImageStore,
  directory: string,
  options: ImportOptions,
): Promise<string[]> {
  const entries = await manifestOf(directory);
  const references: string[] = [];
  for (const entry of entries) {
    const names = options.reference === undefined ? (entry.RepoTags ?? []) : [options.reference];
    if (names.length === 0 || (options.reference !== undefined && entries.length > 1)) {
      throw new CloudosError(
        'IMAGE_INVALID',
        `the archive holds ${entries.length} images and their names do not tell which is meant`,
        {
          remedy: 'save the image by its name: docker save name:tag',
        },
      );
    }
    const manifest = await importOne(store, directory, entry, options);
    for (const name of names) await store.tag(manifest, name);
    references.push(...names);
  }
  return references;
}

async function manifestOf(directory: string) {
  const path = fileInside(directory, 'manifest.json') ?? '';
  try {
    return dockerManifest.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    throw new CloudosError('IMAGE_INVALID', `manifest.json of the archive cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function importOne(
  store: ImageStore,
  directory: string,
  entry: z.infer<typeof dockerManifest>[number],
  options: ImportOptions,
): Promise<Descriptor> {
  const file = (name: string) => {
    const path = fileInside(directory, name);
    if (path) return path;
    throw new CloudosError('IMAGE_INVALID', `the archive lacks ${name}`);
  };
  const layers: Descriptor[] = [];
  for (const name of entry.Layers) {
    const path = file(name);
    const { size } = await stat(path);
    const blob = await store.blobs.put(counted(createReadStream(path), name.slice(0, 19), size, options.onProgress));
    const gzip = (await compressionOf(path)) === 'gzip';
    layers.push({ mediaType: gzip ? mediaTypes.layerGzip : mediaTypes.layer, ...blob });
  }
  const config = await readFile(file(entry.Config));
  const parsed = imageConfig.parse(JSON.parse(config.toString()));
  if (parsed.rootfs.diff_ids.length !== layers.length) {
    throw new CloudosError(
      'IMAGE_INVALID',
      `the archive has ${layers.length} layers, its configuration names ${parsed.rootfs.diff_ids.length}`,
    );
  }
  return putManifest(store, { mediaType: mediaTypes.config, ...(await store.blobs.put(config)) }, layers);
}

/** Stores a manifest and tells how an index names it. */
export async function putManifest(
  store: ImageStore,
  config: Descriptor,
  layers: readonly Descriptor[],
  artifactType?: string,
  annotations?: Readonly<Record<string, string>>,
): Promise<Descriptor> {
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    ...(artifactType === undefined ? {} : { artifactType }),
    config,
    layers,
    ...(annotations === undefined ? {} : { annotations }),
  };
  const blob = await store.blobs.put(Buffer.from(JSON.stringify(manifest)));
  return { mediaType: mediaTypes.manifest, ...blob };
}
