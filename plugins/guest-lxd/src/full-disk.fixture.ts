import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Flavour } from './daemon-flavour.ts';
import { OwnDaemon } from './own-daemon.ts';

const smallestBytes = 4096;

/**
 * Takes all the room of the pool of an own daemon, without writing any of it: files are made as large as there is room, each
 * half of what the last could not be.
 * @returns what gives it back
 */
export async function fillPool(dataDir: string, flavour?: Flavour): Promise<() => Promise<void>> {
  const daemon = new OwnDaemon({ dataDir, pool: 'default', diskMaxBytes: 0, flavour });
  const pool = join(dirname(daemon.socket), 'storage-pools/default');
  const filler = join(pool, 'filler');
  mkdirSync(filler);
  const sync = () => execFileSync('btrfs', ['filesystem', 'sync', pool]);
  sync();
  let count = 0;
  for (let bytes = 2 ** 40; bytes >= smallestBytes; ) {
    try {
      execFileSync('fallocate', ['-l', String(bytes), join(filler, String(count))], { stdio: 'ignore' });
      count += 1;
    } catch {
      bytes /= 2;
    }
  }
  sync();
  return async () => {
    rmSync(filler, { recursive: true });
    sync();
  };
}
