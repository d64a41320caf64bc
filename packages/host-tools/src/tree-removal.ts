import { chmod, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Something may still write its last into the tree: for half a second at most. */
const removal = { recursive: true, force: true, maxRetries: 10, retryDelay: 10 };

/** Removes a tree, directories without permissions included (an overlay makes such a one, and guests may). */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, removal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    await openUp(path);
    await rm(path, removal);
  }
}

async function openUp(directory: string): Promise<void> {
  await chmod(directory, 0o700).catch(() => {});
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await openUp(join(directory, entry.name));
  }
}
