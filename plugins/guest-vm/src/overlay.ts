import { copyFile } from 'node:fs/promises';
import { findTool } from '@cloudos/host-tools';
import { runTool } from './run-tool.ts';

/** Makes an overlay over the disk of an image, which takes room as it is written. @throws CloudosError DISK_FULL */
export async function makeOverlay(
  file: string,
  base: string,
  format: 'qcow2' | 'raw',
  sizeBytes: number,
): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', '-u', '-b', base, '-F', format, file, String(sizeBytes)];
  await runTool(findTool('qemu-img') ?? 'qemu-img', args);
}

/** Begins with what a template has written. */
export function copyOverlay(from: string, to: string): Promise<void> {
  return copyFile(from, to);
}
