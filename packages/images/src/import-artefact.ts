import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { CloudosError } from '@cloudos/sdk';
import { headOf } from './compression.ts';
import type { ImageStore } from './image-store.ts';
import { putManifest } from './import-docker.ts';
import { counted, type ImportOptions } from './import-options.ts';
import { clonableAnnotation, commandLineAnnotation, type Descriptor, mediaTypes } from './oci.ts';

/** Imports the ELF file of a unikernel. Whether it can be booted is for the runtime to find out. */
export async function importUnikernel(store: ImageStore, path: string, options: ImportOptions): Promise<Descriptor> {
  const head = await headOf(path, 20);
  const isProgram = head.length === 20 && [2, 3].includes(head.readUInt16LE(16));
  if (!isElf(head) || head[4] !== 2 || !isProgram) {
    throw new CloudosError('IMAGE_INVALID', `${path} is no 64-bit ELF program (ELF specification, e_ident, e_type)`);
  }
  return importFiles(store, [{ path, mediaType: mediaTypes.unikernelElf }], mediaTypes.unikernel, options);
}

/** Imports the disk of a virtual machine as it is. */
export async function importDisk(store: ImageStore, path: string, options: ImportOptions): Promise<Descriptor> {
  const head = await headOf(path, 512);
  if (head.length < 512) throw new CloudosError('IMAGE_INVALID', `${path} is too short for a disk`);
  const mediaType = isQcow2(head) ? mediaTypes.diskQcow2 : mediaTypes.diskRaw;
  const parts: { path: string; mediaType: string }[] = [{ path, mediaType }];
  if (options.boot) {
    const { kernel, initrd } = options.boot;
    if (!isBzImage(await headOf(kernel, 0x206)) && !isElf(await headOf(kernel, 20))) {
      throw new CloudosError('IMAGE_INVALID', `${kernel} is no kernel that a machine starts (bzImage, ELF)`);
    }
    parts.push({ path: kernel, mediaType: mediaTypes.diskKernel });
    if (initrd !== undefined) parts.push({ path: initrd, mediaType: mediaTypes.diskInitrd });
  }
  const { commandLine } = options.boot ?? {};
  const annotations = {
    ...(commandLine === undefined ? {} : { [commandLineAnnotation]: commandLine }),
    ...(options.clonable ? { [clonableAnnotation]: 'true' } : {}),
  };
  return importFiles(store, parts, mediaTypes.disk, options, annotations);
}

/** Linux/x86 boot protocol: the header's magic number at 0x202. */
function isBzImage(head: Buffer): boolean {
  return head.length >= 0x206 && head.toString('latin1', 0x202, 0x206) === 'HdrS';
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

/** An artefact of these blobs with the empty configuration (OCI image specification 1.1, "Guidelines for Artifact Usage"). */
async function importFiles(
  store: ImageStore,
  parts: readonly { readonly path: string; readonly mediaType: string }[],
  artifactType: string,
  { onProgress }: ImportOptions,
  annotations?: Readonly<Record<string, string>>,
): Promise<Descriptor> {
  const layers: Descriptor[] = [];
  for (const { path, mediaType } of parts) {
    const { size } = await stat(path);
    const blob = await store.blobs.put(counted(createReadStream(path), artifactType, size, onProgress));
    layers.push({ mediaType, ...blob });
  }
  const config = { mediaType: mediaTypes.empty, ...(await store.blobs.put(Buffer.from('{}'))) };
  return putManifest(store, config, layers, artifactType, annotations);
}
