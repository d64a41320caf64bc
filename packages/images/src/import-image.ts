import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { CloudosError } from '@cloudos/sdk';
import { compressionOf, decompressed, headOf } from './compression.ts';
import { storeFailure } from './failures.ts';
import type { Image } from './image.ts';
import type { ImageStore } from './image-store.ts';
import { importDisk, importUnikernel, isElf, isPartitioned, isQcow2 } from './import-artefact.ts';
import { importDockerArchive } from './import-docker.ts';
import { importLayout } from './import-layout.ts';
import type { ImportOptions } from './import-options.ts';
import { importFromRegistry } from './import-registry.ts';
import { importRootArchive, importRootDirectory } from './import-root.ts';
import { fileInside } from './inside.ts';
import { applyLayer } from './layer.ts';
import type { Descriptor } from './oci.ts';
import { tarEntries } from './tar-entries.ts';

/** The forms in which an image comes. */
export const importForms = [
  'oci-layout',
  'docker-archive',
  'root-archive',
  'root-directory',
  'unikernel',
  'disk',
  'registry',
] as const;
export type ImportForm = (typeof importForms)[number];

/** Beginnings of archives that hold one of these are looked into. */
const ustar = Buffer.from('ustar');

export interface ImportSource {
  /** A path, or for a registry a reference such as `docker.io/library/busybox:1`. */
  readonly from: string;
  /** Absent: found out by looking at it. */
  readonly form?: ImportForm | undefined;
}

/**
 * Imports an image into the store and returns what its references mean now. What is there already is not stored twice; a
 * damaged copy is replaced. Nothing is changed when it fails, but for content that the next collection of garbage takes.
 * @throws CloudosError IMAGE_INVALID, IMAGE_CORRUPT, DISK_FULL, IMAGE_STORE_BUSY, HOST_COMMAND_FAILED; of a registry also
 * IMAGE_NOT_FOUND, REGISTRY_UNREACHABLE, PERMISSION_DENIED
 */
export async function importImage(
  store: ImageStore,
  source: ImportSource,
  options: ImportOptions = {},
): Promise<Image[]> {
  const references = await store
    .whileImporting(async () => importAs(store, source.form ?? (await formOf(source.from)), source.from, options))
    .catch((error: unknown) => {
      throw storeFailure(error, store.root);
    });
  return Promise.all(references.map((reference) => store.resolve(reference)));
}

async function importAs(store: ImageStore, form: ImportForm, from: string, options: ImportOptions): Promise<string[]> {
  const named = async (making: Promise<Descriptor>) => {
    const reference = options.reference ?? nameAfter(from);
    await store.tag(await making, reference);
    return [reference];
  };
  switch (form) {
    case 'oci-layout':
      return (await stat(from)).isDirectory()
        ? importLayout(store, from, options)
        : unpacked(store, from, (directory) => importLayout(store, directory, options));
    case 'docker-archive':
      return unpacked(store, from, (directory) =>
        fileInside(directory, 'index.json') &&
        fileInside(directory, 'oci-layout') &&
        !fileInside(directory, 'manifest.json')
          ? importLayout(store, directory, options)
          : importDockerArchive(store, directory, options),
      );
    case 'root-archive':
      return named(importRootArchive(store, from, options));
    case 'root-directory':
      return named(importRootDirectory(store, from, options));
    case 'unikernel':
      return named(importUnikernel(store, from, options));
    case 'disk':
      return named(importDisk(store, from, options));
    case 'registry':
      return importFromRegistry(store, from, options);
  }
}

async function unpacked<T>(store: ImageStore, archive: string, use: (directory: string) => Promise<T>): Promise<T> {
  return store.withTmp(async (directory) => {
    const content = decompressed(createReadStream(archive), await compressionOf(archive));
    await applyLayer(directory, content, { whiteouts: false });
    return use(directory);
  });
}

/** What a path is. What is no path is taken for a reference of a registry. @throws CloudosError IMAGE_INVALID */
export async function formOf(from: string): Promise<ImportForm> {
  const found = await stat(from).catch(() => undefined);
  if (!found) {
    if (from.startsWith('/') || from.startsWith('.')) {
      throw new CloudosError('IMAGE_NOT_FOUND', `there is nothing at ${from}`, { remedy: 'check the path' });
    }
    return 'registry';
  }
  if (found.isDirectory()) return fileInside(from, 'oci-layout') ? 'oci-layout' : 'root-directory';
  const head = await headOf(from, 512);
  if (isElf(head)) return 'unikernel';
  if (isQcow2(head)) return 'disk';
  const compression = await compressionOf(from);
  if (compression === 'none' && !isTar(head)) {
    if (isPartitioned(head)) return 'disk';
    throw new CloudosError('IMAGE_INVALID', `${from} is no archive, no ELF program and no disk that is known`, {
      remedy: `say what it is with --as: ${importForms.join(', ')}`,
    });
  }
  return archiveForm(from);
}

function isTar(head: Buffer): boolean {
  return head.subarray(257, 262).equals(ustar);
}

/** By the names of the first entries: `docker save` and OCI archives have their own at the top. */
async function archiveForm(from: string): Promise<ImportForm> {
  const names = new Set<string>();
  for await (const entry of tarEntries(decompressed(createReadStream(from), await compressionOf(from)))) {
    names.add(entry.header.name.replace(/^\.\//, ''));
    await entry.skip();
    if (names.has('manifest.json') || names.has('oci-layout')) break;
  }
  if (names.has('manifest.json')) return 'docker-archive';
  return names.has('oci-layout') ? 'oci-layout' : 'root-archive';
}

/** `busybox.tar.gz` → `busybox:latest`. */
function nameAfter(from: string): string {
  const name = basename(from)
    .replace(/\.(tar(\.\w+)?|tgz|txz|elf|qcow2|img|raw)$/i, '')
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '');
  return `${name || 'image'}:latest`;
}
