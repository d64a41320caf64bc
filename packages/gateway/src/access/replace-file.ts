import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Puts a file of its owner's only (mode 0600) in the place of another in one step: after a crash at any moment it is
 * the old one or the new one, and once this resolves it is the new one. One writer at a time.
 * Source: rename(2), fsync(2) (the directory has to be synchronised as well).
 */
export async function replaceFile(file: string, content: string): Promise<void> {
  const draft = `${file}.draft`;
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
  const directory = await open(dirname(file), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
