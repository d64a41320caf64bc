import { chmod, readFile, writeFile } from 'node:fs/promises';
import type { ImageStore, StoredContent, StoredImage } from '@cloudos/images';

/**
 * Changes one bit of what is stored for an image, as a disk might: its content no longer has the digest that names it.
 * @returns the reference of the image
 */
export async function damage(store: ImageStore, image: StoredImage): Promise<string> {
  const path = store.blobs.path(contentOf(image).digest);
  const bytes = await readFile(path);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
  return image.reference;
}

function contentOf(image: StoredImage): StoredContent {
  if (image.kind === 'unikernel') return image.elf;
  if (image.kind === 'disk') return image.disk;
  const [first] = image.layers;
  if (!first) throw new Error(`${image.reference} has no layer to damage`);
  return first;
}
