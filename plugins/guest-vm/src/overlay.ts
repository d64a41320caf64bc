import { copyFile } from 'node:fs/promises';
import { findTool, runCommand } from '@cloudos/host-tools';

const packMaxMs = 60_000;

/** Makes an overlay over the disk of an image, which takes room as it is written. */
export async function makeOverlay(
  file: string,
  base: string,
  format: 'qcow2' | 'raw',
  sizeBytes: number,
): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', '-u', '-b', base, '-F', format, file, String(sizeBytes)];
  await runCommand(findTool('qemu-img') ?? 'qemu-img', args, { timeoutMs: packMaxMs });
}

/** Begins with what a template has written. */
export function copyOverlay(from: string, to: string): Promise<void> {
  return copyFile(from, to);
}
