import { createWriteStream } from 'node:fs';
import { link, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import { compressionOf, decompressed } from './compression.ts';
import type { DiskImage, OciImage, StoredContent } from './image.ts';
import type { ImageStore } from './image-store.ts';
import { applyLayer } from './layer.ts';

/** How long making an archive or a disk of a root may take. */
const packMaxMs = 600_000;

/**
 * The root file system of an image as a directory: all layers unpacked, with owners and modes as in the image (see
 * `applyLayer`). To be used as a lower layer, never written to.
 */
export async function rootDirectory(store: ImageStore, image: OciImage): Promise<string> {
  const form = await store.derive(image.digest, 'rootfs', async (directory) => {
    const root = join(directory, 'root');
    await mkdir(root, { mode: 0o755 });
    for (const layer of image.layers) await unpackLayer(store, layer, root);
  });
  return join(form, 'root');
}

/** Damaged bytes often show as a damaged archive first: what is told is that they are not what the digest says. */
async function unpackLayer(store: ImageStore, layer: StoredContent, root: string): Promise<void> {
  try {
    await applyLayer(root, await layerStream(store, layer));
  } catch (error) {
    await store.blobs.verify(layer.digest);
    throw error;
  }
}

/** A read-only squashfs disk of the root, not compressed: an emulated processor takes longer to unpack than to read. @throws CloudosError HOST_COMMAND_FAILED without mksquashfs */
export async function squashfsDisk(store: ImageStore, image: OciImage): Promise<string> {
  const root = await rootDirectory(store, image);
  const tool = needed('mksquashfs', 'squashfs-tools');
  const form = await store.derive(image.digest, 'squashfs-plain', (directory) =>
    runCommand(tool, [root, join(directory, 'disk'), '-noappend', '-no-progress', '-quiet', ...plain], {
      timeoutMs: packMaxMs,
    }),
  );
  return join(form, 'disk');
}

/** Neither inodes, data, fragments nor extended attributes are compressed. */
const plain = ['-noI', '-noD', '-noF', '-noX'];

/** One uncompressed tar of the root, whiteouts applied: what `docker import` and LXD take. */
export async function flatArchive(store: ImageStore, image: OciImage): Promise<string> {
  const root = await rootDirectory(store, image);
  const form = await store.derive(image.digest, 'flat-tar', (directory) =>
    runCommand(needed('tar', 'tar'), [...packArguments, '-C', root, '-cf', join(directory, 'root.tar'), '.'], {
      timeoutMs: packMaxMs,
    }),
  );
  return join(form, 'root.tar');
}

/** An archive that `docker load` takes, with the configuration of the image and the reference as its name. */
export async function dockerArchive(store: ImageStore, image: OciImage, name: string): Promise<string> {
  const tag = name.replace(/[^a-zA-Z0-9_.-]/g, '-');
  const form = await store.derive(image.digest, `docker-load-${tag.toLowerCase().slice(0, 40)}`, async (directory) => {
    await store.withTmp(async (work) => {
      const layers: string[] = [];
      for (const [index, layer] of image.layers.entries()) {
        layers.push(`${index}/layer.tar`);
        await mkdir(join(work, String(index)));
        await pipeline(await layerStream(store, layer), createWriteStream(join(work, `${index}/layer.tar`)));
      }
      await writeFile(join(work, 'config.json'), await configWithoutVolumes(store, image));
      const manifest = [{ Config: 'config.json', RepoTags: [name], Layers: layers }];
      await writeFile(join(work, 'manifest.json'), JSON.stringify(manifest));
      const archive = join(directory, 'image.tar');
      await runCommand(needed('tar', 'tar'), ['-C', work, '-cf', archive, '.'], { timeoutMs: packMaxMs });
    });
  });
  return join(form, 'image.tar');
}

/** A volume would outlive its container and lie outside of its disk: guests have neither. */
async function configWithoutVolumes(store: ImageStore, { manifest }: OciImage): Promise<string> {
  const { config, ...rest } = JSON.parse(await readFile(store.blobs.path(manifest.config.digest), 'utf8'));
  const { Volumes: _, ...kept } = config ?? {};
  return JSON.stringify({ ...rest, config: kept });
}

/** Files of a disk image that machines read from: `kernel` and `initrd` where the image has them. */
export interface DiskFiles {
  readonly disk: string;
  readonly kernel?: string;
  readonly initrd?: string;
}

/**
 * The disk of an image and what lies beside it as files, checked against their digests once. Never to be written to.
 * @throws CloudosError IMAGE_CORRUPT
 */
export async function diskFiles(store: ImageStore, { digest, disk, boot }: DiskImage): Promise<DiskFiles> {
  const parts = { disk, kernel: boot?.kernel, initrd: boot?.initrd };
  const form = await store.derive(digest, 'disk', async (directory) => {
    for (const [name, part] of Object.entries(parts)) {
      if (!part) continue;
      await store.blobs.verify(part.digest);
      await link(store.blobs.path(part.digest), join(directory, name));
    }
  });
  const path = (name: string) => join(form, name);
  return {
    disk: path('disk'),
    ...(boot ? { kernel: path('kernel') } : {}),
    ...(boot?.initrd ? { initrd: path('initrd') } : {}),
  };
}

/** A layer uncompressed, checked against its digest as it is read. */
export async function layerStream(store: ImageStore, { digest }: StoredContent) {
  if (!store.blobs.has(digest)) await store.blobs.verify(digest);
  const compression = await compressionOf(store.blobs.path(digest));
  return decompressed(store.blobs.stream(digest), compression);
}

/** The same tree gives the same archive, whenever and wherever it is packed. */
export const packArguments = ['--sort=name', '--numeric-owner', '--format=gnu'];

function needed(tool: string, debianPackage: string): string {
  const path = findTool(tool);
  if (path) return path;
  throw new CloudosError('HOST_COMMAND_FAILED', `the tool ${tool} is missing`, {
    remedy: `apt-get install ${debianPackage}`,
  });
}
