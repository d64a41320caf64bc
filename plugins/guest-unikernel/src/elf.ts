import { open } from 'node:fs/promises';

/** ELF64 and its program headers (System V ABI, chapter 5). */
const headerBytes = 64;
const programHeaderBytes = 56;
const programHeadersMax = 64;
const noteSegment = 4;
const notesMaxBytes = 64 * 1024;
/** Xen's note with the 32-bit entry of a PVH guest. */
const pvhNoteType = 18;
const x86 = 62;

/** Why the file cannot be booted as a unikernel; undefined: it is an ELF for x86-64 with an entry for PVH. */
export async function pvhObstacle(path: string): Promise<string | undefined> {
  const file = await open(path, 'r');
  try {
    const read = async (offset: number, length: number) => {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await file.read(buffer, 0, length, offset);
      return buffer.subarray(0, bytesRead);
    };
    const header = await read(0, headerBytes);
    if (header.length < headerBytes || header.readUInt32BE(0) !== 0x7f454c46) return 'it is no ELF file';
    if (header[4] !== 2 || header[5] !== 1) return 'it is no ELF file of 64 bits, little endian';
    if (header.readUInt16LE(18) !== x86) return 'it is for another processor than x86-64';
    const at = Number(header.readBigUInt64LE(32));
    const count = Math.min(header.readUInt16LE(56), programHeadersMax);
    const table = await read(at, count * programHeaderBytes);
    for (let offset = 0; offset + programHeaderBytes <= table.length; offset += programHeaderBytes) {
      if (table.readUInt32LE(offset) !== noteSegment) continue;
      const size = Math.min(Number(table.readBigUInt64LE(offset + 32)), notesMaxBytes);
      if (hasPvhNote(await read(Number(table.readBigUInt64LE(offset + 8)), size))) return undefined;
    }
    return 'it has no note with an entry for PVH (Xen, type 18)';
  } finally {
    await file.close();
  }
}

function hasPvhNote(notes: Buffer): boolean {
  for (let at = 0; at + 12 <= notes.length; ) {
    const nameBytes = notes.readUInt32LE(at);
    const descriptionBytes = notes.readUInt32LE(at + 4);
    const name = notes.toString('latin1', at + 12, at + 12 + nameBytes);
    if (name === 'Xen\0' && notes.readUInt32LE(at + 8) === pvhNoteType) return true;
    at += 12 + align(nameBytes) + align(descriptionBytes);
  }
  return false;
}

function align(bytes: number): number {
  return (bytes + 3) & ~3;
}
