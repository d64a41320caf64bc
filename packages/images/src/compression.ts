import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { PassThrough, pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { findTool, toolEnvironment } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';

export type Compression = 'none' | 'gzip' | 'zstd' | 'xz' | 'bzip2';

const magics: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
];

/** How a file is compressed, by its first bytes. */
export async function compressionOf(path: string): Promise<Compression> {
  const head = await headOf(path, 6);
  return magics.find(([, magic]) => magic.every((byte, index) => head[index] === byte))?.[0] ?? 'none';
}

export async function headOf(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(buffer, 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The content uncompressed. An error of the source is passed on. @throws CloudosError IMAGE_INVALID without the tool */
export function decompressed(source: Readable, compression: Compression): Readable {
  if (compression === 'none') return source;
  if (compression === 'gzip') return joined(source, createGunzip());
  const tool = findTool(compression);
  if (!tool) {
    throw new CloudosError(
      'IMAGE_INVALID',
      `the archive is compressed with ${compression}, and there is no such tool`,
      {
        remedy: `apt-get install ${compression === 'xz' ? 'xz-utils' : compression}`,
      },
    );
  }
  const child = spawn(tool, ['-dc'], { env: { ...toolEnvironment }, stdio: ['pipe', 'pipe', 'pipe'] });
  const output = new PassThrough();
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    said = `${said}${data}`.slice(-2_000);
  });
  child.stdout.pipe(output, { end: false });
  child.on('error', (error) => output.destroy(error));
  child.on('close', (code) => {
    if (code === 0) output.end();
    else output.destroy(new CloudosError('IMAGE_INVALID', `${compression} cannot read the archive: ${said.trim()}`));
  });
  pipeline(source, child.stdin, (error) => {
    if (error && (error as NodeJS.ErrnoException).code !== 'EPIPE') output.destroy(error);
  });
  output.on('close', () => child.kill('SIGKILL'));
  return output;
}

function joined(source: Readable, through: ReturnType<typeof createGunzip>): Readable {
  source.on('error', (error) => through.destroy(error));
  through.on('error', () => source.destroy());
  return source.pipe(through);
}
