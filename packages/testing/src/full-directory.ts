import { execFileSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Puts a file system without room over a directory, which must be there. Needs root.
 * @returns what takes it away again; what was there before is there again
 */
export async function fullDirectory(place: string): Promise<() => Promise<void>> {
  const mode = (statSync(place).mode & 0o7777).toString(8);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=64k,mode=${mode}`, 'full', place]);
  try {
    writeFileSync(join(place, '.fill'), Buffer.alloc(128 * 1024));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  return async () => {
    // Also while a driver looks into it.
    execFileSync('umount', ['--lazy', place]);
  };
}
