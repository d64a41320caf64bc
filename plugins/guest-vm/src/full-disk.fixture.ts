import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Puts a file system without room over the place where machines are made. */
export async function fillDisk({ dataDir }: { dataDir: string }): Promise<() => Promise<void>> {
  const place = join(dataDir, 'guests');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=711', 'full', place]);
  try {
    writeFileSync(join(place, '.fill'), Buffer.alloc(128 * 1024));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  return async () => {
    execFileSync('umount', [place]);
  };
}
