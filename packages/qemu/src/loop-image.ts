/**
 * The smallest guest: an ELF with a PVH note whose entry (32 bits, no paging) counts down and leaves through
 * isa-debug-exit with 42. Layout: ELF header (64 bytes), two program headers (56 each), the note, the code.
 */
export function loopImage(iterations: number): Buffer {
  const base = 0x100000;
  const noteAt = 64 + 2 * 56;
  const noteSize = 12 + 4 + 8;
  const codeAt = noteAt + noteSize;
  const code = Buffer.from([
    ...[0xb9, ...littleEndian(iterations)], // mov ecx, iterations
    ...[0x49], // dec ecx
    ...[0x75, 0xfd], // jnz back to it
    ...[0xb8, ...littleEndian(42)], // mov eax, 42
    ...[0xba, ...littleEndian(0xf4)], // mov edx, 0xf4
    ...[0xef], // out dx, eax
    ...[0xf4, 0xeb, 0xfd], // hlt, again
  ]);
  const size = codeAt + code.length;
  const image = Buffer.alloc(size);
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  image.writeUInt16LE(2, 16); // an executable
  image.writeUInt16LE(62, 18); // x86-64
  image.writeUInt32LE(1, 20);
  image.writeBigUInt64LE(BigInt(base + codeAt), 24);
  image.writeBigUInt64LE(64n, 32);
  image.writeUInt16LE(64, 52);
  image.writeUInt16LE(56, 54);
  image.writeUInt16LE(2, 56);
  programHeader(image, 64, { type: 1, flags: 5, offset: 0, address: base, size });
  programHeader(image, 120, { type: 4, flags: 4, offset: noteAt, address: base + noteAt, size: noteSize });
  image.writeUInt32LE(4, noteAt);
  image.writeUInt32LE(8, noteAt + 4);
  image.writeUInt32LE(18, noteAt + 8); // XEN_ELFNOTE_PHYS32_ENTRY
  image.write('Xen\0', noteAt + 12, 'latin1');
  image.writeBigUInt64LE(BigInt(base + codeAt), noteAt + 16);
  image.set(code, codeAt);
  return image;
}

function littleEndian(value: number): number[] {
  return [0, 8, 16, 24].map((shift) => (value >>> shift) & 255);
}

function programHeader(
  image: Buffer,
  at: number,
  header: { type: number; flags: number; offset: number; address: number; size: number },
): void {
  image.writeUInt32LE(header.type, at);
  image.writeUInt32LE(header.flags, at + 4);
  image.writeBigUInt64LE(BigInt(header.offset), at + 8);
  image.writeBigUInt64LE(BigInt(header.address), at + 16);
  image.writeBigUInt64LE(BigInt(header.address), at + 24);
  image.writeBigUInt64LE(BigInt(header.size), at + 32);
  image.writeBigUInt64LE(BigInt(header.size), at + 40);
  image.writeBigUInt64LE(4n, at + 48);
}
