import { crc32 } from 'node:zlib';

/** A value with its checksum (CRC-32) in the first four bytes. */
export function withChecksum(value: Uint8Array): Buffer {
  const row = Buffer.allocUnsafe(value.length + 4);
  row.set(value, 4);
  sealRow(row);
  return row;
}

/** Fills in the checksum of a row whose first four bytes are left free. */
export function sealRow(row: Buffer): void {
  row.writeUInt32LE(crc32(row.subarray(4)), 0);
}

/** Whether the checksum of a row is right. */
export function isSound(row: Buffer): boolean {
  return row.length > 4 && crc32(row.subarray(4)) === row.readUInt32LE(0);
}

/** The value of a row, or undefined when it is absent or damaged. */
export function checkedValue(row: Buffer | undefined): Buffer | undefined {
  return row && isSound(row) ? row.subarray(4) : undefined;
}
