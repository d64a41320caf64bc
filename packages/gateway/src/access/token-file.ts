import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { chmod, link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asCloudosError, CloudosError } from '@cloudos/sdk';
import { tokenPrefix } from './stored-token.ts';

const tokenBytes = 32;

export function tokenFileOf(stateDir: string): string {
  return join(stateDir, 'token');
}

/**
 * The token of a state directory: 256 random bits, made once, in a file that only its owner reads (mode 0600).
 * Safe against two processes that start at the same moment: both get the same token.
 * @throws CloudosError PERMISSION_DENIED
 */
export async function ensureToken(stateDir: string): Promise<string> {
  const file = tokenFileOf(stateDir);
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    const found = await readToken(file);
    if (found !== undefined) return found;
    const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
    await writeFile(draft, `${tokenPrefix}${randomBytes(tokenBytes).toString('base64url')}\n`, {
      mode: 0o600,
      flag: 'wx',
    });
    try {
      await link(draft, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      await rm(draft, { force: true });
    }
    const token = await readToken(file);
    if (token === undefined) throw new CloudosError('PERMISSION_DENIED', `${file} vanished while it was made`);
    return token;
  } catch (error) {
    throw asCloudosError(error, 'PERMISSION_DENIED', `the token file ${file} cannot be made or read`);
  }
}

async function readToken(file: string): Promise<string | undefined> {
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (text.length < 16) {
    throw new CloudosError('PERMISSION_DENIED', `${file} holds no token of at least 16 characters`, {
      remedy: 'Remove the file; the next start makes a new one.',
    });
  }
  if (((await stat(file)).mode & 0o077) !== 0) await chmod(file, 0o600);
  return text;
}

/** Compares in constant time, whatever the lengths are. */
export function sameToken(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
