import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { CloudosError } from '@cloudos/sdk';
import { headOf } from './compression.ts';
import type { ImageStore } from './image-store.ts';
import { putManifest } from './import-docker.ts';
import { counted, type ImportOptions } from './import-options.ts';
import { type Descriptor, mediaTypes } from './oci.ts';

/** Imports the ELF file of a unikernel. Whether it can be booted is for the runtime to find out. */
export async function importUnikernel(store: ImageStore, path: string, options: ImportOptions): Promise<Descriptor> {
  const head = await headOf(path, 20);
  const isProgram = head.length === 20 && [2, 3].includes(head.readUInt16LE(16));
  if (!isElf(head) || head[4] !== 2 || !isProgram) {
    throw new CloudosError('IMAGE_INVALID', `${path} is no 64-bit ELF program (ELF specification, e_ident, e_type)`);
  }
  return importFile(store, path, mediaTypes.unikernel, mediaTypes.unikernelElf, options);
}

/** Imports the disk of a virtual machine as it is. */
export async function importDisk(store: ImageStore, path: string, options: ImportOptions): Promise<Descriptor> {
  const head = await headOf(path, 512);
  if (head.length < 512) throw new CloudosError('IMAGE_INVALID', `${path} is too short for a disk`);
  const mediaType = isQcow2(head) ? mediaTypes.diskQcow2 : mediaTypes.diskRaw;
  return importFile(store, path, mediaTypes.disk, mediaType, options);
}

export function isElf(head: Buffer): boolean {
  return head.subarray(0, 4).equals(Buffer.from([0x7f, 0x45, 0x4c, 0x46]));
}

export function isQcow2(head: Buffer): boolean {
  return head.subarray(0, 4).equals(Buffer.from([0x51, 0x46, 0x49, 0xfb]));
}

/** A master boot record, or the protective one of a GUID partition table. */
export function isPartitioned(head: Buffer): boolean {
  return head.length >= 512 && head[510] === 0x55 && head[511] === 0xaa;
}

/** An artefact of one blob with the empty configuration (OCI image specification 1.1, "Guidelines for Artifact Usage"). */
async function importFile(
  store: ImageStore,
  path: string,
  artifactType: string,
  mediaType: string,
  { onProgress }: ImportOptions,
): Promise<Descriptor> {
  const { size } = await stat(path);
  const blob = await store.blobs.put(counted(createReadStream(path), artifactType, size, onProgress));
  const config = { mediaType: mediaTypes.empty, ...(await store.blobs.put(Buffer.from('{}'))) };
  return putManifest(store, config, [{ mediaType, ...blob }], artifactType);
}
