import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asCloudosError, CloudosError } from '@cloudos/sdk';

const tokenBytes = 32;
const tokenMinLength = 16;

/** The token in `<dir>/token`, made on first use. @throws CloudosError PERMISSION_DENIED */
export async function ensureToken(dir: string): Promise<string> {
  const file = join(dir, 'token');
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
    await writeFile(draft, `${randomBytes(tokenBytes).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
    // Linked, not renamed: of two that start at once, both read the token of the first.
    await link(draft, file)
      .catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      })
      .finally(() => rm(draft, { force: true }));
    const token = (await readFile(file, 'utf8')).trim();
    if (token.length >= tokenMinLength) return token;
  } catch (error) {
    throw asCloudosError(error, 'PERMISSION_DENIED', `the token file ${file} cannot be made or read`);
  }
  throw new CloudosError('PERMISSION_DENIED', `${file} holds no token of at least ${tokenMinLength} characters`, {
    remedy: 'Remove the file; the next start makes a new one.',
  });
}

/** Compares in constant time, whatever the lengths are. */
export function isBearer(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return given !== undefined && timingSafeEqual(digest(given), digest(token));
}
