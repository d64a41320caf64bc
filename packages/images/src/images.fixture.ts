import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { pack } from 'tar-stream';
import { ImageStore } from './image-store.ts';
import { putManifest } from './import-docker.ts';
import { type Descriptor, mediaTypes } from './oci.ts';

export interface Entry {
  readonly name: string;
  readonly type?: 'file' | 'directory' | 'symlink' | 'link' | 'fifo' | 'character-device';
  readonly content?: string;
  readonly linkname?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly devmajor?: number;
  readonly devminor?: number;
}

/** The bytes of a tar archive. */
export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const packing = pack();
  const chunks: Buffer[] = [];
  const reading = (async () => {
    for await (const chunk of packing) chunks.push(chunk as Buffer);
  })();
  for (const { content = '', ...header } of entries)
    packing.entry({ mtime: new Date(1_000_000_000_000), ...header }, content);
  packing.finalize();
  await reading;
  return Buffer.concat(chunks);
}

export async function writeTar(path: string, entries: readonly Entry[]): Promise<string> {
  const stream = createWriteStream(path);
  stream.end(await tarOf(entries));
  await finished(stream);
  return path;
}

/** Stores an image of these layers. */
export async function storeLayers(store: ImageStore, reference: string, layers: readonly (readonly Entry[])[]) {
  const stored: Descriptor[] = [];
  for (const entries of layers) {
    stored.push({ mediaType: mediaTypes.layer, ...(await store.blobs.put(await tarOf(entries))) });
  }
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Entrypoint: ['/bin/x'], Cmd: ['a'], Env: ['A=b=c'] },
    rootfs: { type: 'layers', diff_ids: stored.map(({ digest }) => digest) },
  };
  const blob = await store.blobs.put(Buffer.from(JSON.stringify(config)));
  await store.tag(await putManifest(store, { mediaType: mediaTypes.config, ...blob }, stored), reference);
  const image = await store.resolve(reference);
  if (image.kind !== 'oci') throw new Error('not an image');
  return image;
}

/** A store in a directory of its own, with a place beside it for sources. */
export async function openStore() {
  const directory = await mkdtemp(join(tmpdir(), 'cloudos-images-'));
  return {
    store: new ImageStore(join(directory, 'images')),
    directory,
    file: async (name: string, content: string | Uint8Array) => {
      await writeFile(join(directory, name), content);
      return join(directory, name);
    },
    close: () => rm(directory, { recursive: true, force: true }),
  };
}
