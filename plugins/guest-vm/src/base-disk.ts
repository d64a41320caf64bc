import { open } from 'node:fs/promises';
import { CloudosError } from '@cloudos/sdk';

/** Offsets in the header of qcow2 (QEMU: docs/interop/qcow2.txt). */
const header = { version: 4, backingOffset: 8, size: 24, incompatible: 72, length: 80 } as const;
/** "External data file bit" of the incompatible features. */
const externalData = 4n;

/**
 * The size that a machine sees of a disk.
 * @throws CloudosError IMAGE_UNSUITABLE for a qcow2 that reads other files of the node: what an image says must not
 * decide what QEMU opens
 */
export async function virtualSize(path: string, format: 'qcow2' | 'raw'): Promise<number> {
  const file = await open(path, 'r');
  try {
    if (format === 'raw') return (await file.stat()).size;
    const head = Buffer.alloc(header.length);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    if (bytesRead < head.length) throw unsuitable(path, 'it is cut off');
    if (head.readBigUInt64BE(header.backingOffset) !== 0n) throw unsuitable(path, 'it is the overlay of another disk');
    const version = head.readUInt32BE(header.version);
    if (version >= 3 && head.readBigUInt64BE(header.incompatible) & externalData)
      throw unsuitable(path, 'its data lies in another file');
    return Number(head.readBigUInt64BE(header.size));
  } finally {
    await file.close();
  }
}

function unsuitable(path: string, why: string): CloudosError {
  return new CloudosError('IMAGE_UNSUITABLE', `the disk ${path} cannot be a machine's: ${why}`, {
    remedy: 'qemu-img convert -O qcow2 it to a disk that stands for itself, and import that',
  });
}
