import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

const fileName = 'acknowledged';
const bytes = 16;
const magic = 0x636c6f67;

/**
 * How far the log was acknowledged, beside the database: written after each commit has been flushed, without a flush of
 * its own. It may lag behind after a crash of the machine; it never runs ahead. So a database that ends before it has
 * lost events, which the database alone cannot tell (a damaged root page makes it fall back to the one before).
 */
export class AcknowledgedFile {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(bytes);

  constructor(directory: string) {
    this.#fd = openSync(join(directory, fileName), constants.O_RDWR | constants.O_CREAT, 0o600);
  }

  write(position: number): void {
    this.#buffer.writeUInt32LE(magic, 0);
    this.#buffer.writeDoubleLE(position, 8);
    this.#buffer.writeUInt32LE(crc32(this.#buffer.subarray(8)), 4);
    writeSync(this.#fd, this.#buffer, 0, bytes, 0);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The position up to which the log was acknowledged at least; -1 when that is not known. */
export function readAcknowledged(directory: string): number {
  let buffer: Buffer;
  try {
    buffer = readFileSync(join(directory, fileName));
  } catch {
    return -1;
  }
  if (buffer.length < bytes || buffer.readUInt32LE(0) !== magic) return -1;
  return crc32(buffer.subarray(8, bytes)) === buffer.readUInt32LE(4) ? buffer.readDoubleLE(8) : -1;
}
