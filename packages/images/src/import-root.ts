import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import { compressionOf, decompressed } from './compression.ts';
import { packArguments } from './forms.ts';
import type { ImageStore } from './image-store.ts';
import { putManifest } from './import-docker.ts';
import { counted, type ImportOptions } from './import-options.ts';
import { partsOf } from './inside.ts';
import { type Descriptor, mediaTypes, ociArchitecture } from './oci.ts';
import { tarEntries } from './tar-entries.ts';

const packMaxMs = 600_000;

/** Imports a tarball of a root file system as an image of one layer, stored uncompressed. */
export async function importRootArchive(store: ImageStore, path: string, options: ImportOptions): Promise<Descriptor> {
  const { size } = await stat(path);
  const source = counted(createReadStream(path), 'root file system', size, options.onProgress);
  const plain = decompressed(Readable.from(source), await compressionOf(path));
  const checked = new PassThrough();
  // Whoever reads it is told; before that, nobody need listen.
  checked.on('error', () => {});
  const [layer] = await Promise.all([store.blobs.put(checked), check(plain, checked)]);
  return putManifest(store, await putConfig(store, layer.digest, options), [{ mediaType: mediaTypes.layer, ...layer }]);
}

/** Reads an archive to its end while it is passed on. @throws CloudosError IMAGE_INVALID when it is none, or leads out of it */
async function check(plain: Readable, passedOn: PassThrough): Promise<void> {
  const through = plain.pipe(new PassThrough());
  plain.on('error', (error) => through.destroy(error));
  plain.pipe(passedOn, { end: false });
  try {
    let count = 0;
    for await (const entry of tarEntries(through)) {
      partsOf(entry.header.name);
      count += 1;
      await entry.skip();
    }
    if (count === 0) throw new CloudosError('IMAGE_INVALID', 'the archive has no entry');
    if (!plain.readableEnded) await once(plain, 'end');
    passedOn.end();
  } catch (error) {
    passedOn.destroy(error as Error);
    throw error;
  }
}

/** Imports a directory as an image of one layer. */
export async function importRootDirectory(
  store: ImageStore,
  directory: string,
  options: ImportOptions,
): Promise<Descriptor> {
  if ((await readdir(directory)).length === 0) throw new CloudosError('IMAGE_INVALID', `${directory} is empty`);
  return store.withTmp(async (work) => {
    const archive = join(work, 'root.tar');
    const args = [...packArguments, '--one-file-system', '-C', directory, '-cf', archive, '.'];
    await runCommand(findTool('tar') ?? 'tar', args, { timeoutMs: packMaxMs });
    return importRootArchive(store, archive, options);
  });
}

async function putConfig(store: ImageStore, diffId: string, { program }: ImportOptions): Promise<Descriptor> {
  const config = {
    architecture: ociArchitecture(),
    os: 'linux',
    config: {
      ...(program?.entrypoint ? { Entrypoint: program.entrypoint } : {}),
      ...(program?.cmd ? { Cmd: program.cmd } : {}),
      ...(program?.env ? { Env: Object.entries(program.env).map(([name, value]) => `${name}=${value}`) } : {}),
      ...(program?.workingDir ? { WorkingDir: program.workingDir } : {}),
      ...(program?.user ? { User: program.user } : {}),
    },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created_by: 'cloudos image import' }],
  };
  return { mediaType: mediaTypes.config, ...(await store.blobs.put(Buffer.from(JSON.stringify(config)))) };
}
