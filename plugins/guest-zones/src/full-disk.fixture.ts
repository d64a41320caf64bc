import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Puts a file system without room over the place where zones are made. Undefined: only root can. */
export const fillDisk =
  process.geteuid?.() === 0
    ? async ({ dataDir }: { dataDir: string }): Promise<() => Promise<void>> => {
        const place = join(dataDir, 'zones');
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'full', place]);
        try {
          writeFileSync(join(place, '.fill'), Buffer.alloc(128 * 1024));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        }
        return async () => {
          execFileSync('umount', [place]);
        };
      }
    : undefined;
