import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CloudosError, type EnvironmentVariable } from '@cloudos/sdk';

/** Bounds what one variable may take: the kernel takes no string of more than 128 KiB (execve(2)). */
const secretMaxBytes = 128 * 1024 - 1;

/** Where the secrets of a machine lie. */
export function secretsDirectory(stateDir: string): string {
  return join(stateDir, 'secrets');
}

/**
 * The variables of a guest with their values, those of secrets read from `<stateDir>/secrets/<ref>` now. One newline at
 * the end of a file does not count. Call it when the guest starts; keep the result in no file and no message.
 * @throws CloudosError SECRET_NOT_FOUND, SECRET_EXPOSED when others than its owner can read it or replace it
 */
export async function resolveEnvironment(
  stateDir: string,
  variables: readonly EnvironmentVariable[],
): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const variable of variables) {
    values[variable.name] = 'secret' in variable ? await readSecret(stateDir, variable.secret) : variable.value;
  }
  return values;
}

async function readSecret(stateDir: string, reference: string): Promise<string> {
  const path = join(secretsDirectory(stateDir), reference);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) {
    throw new CloudosError('SECRET_NOT_FOUND', `the secret ${reference} is not there: ${path} is no file`, {
      remedy: `write it there: install -D -m 600 <file> ${path}`,
    });
  }
  const folder = await stat(dirname(path));
  if ((found.mode & 0o077) !== 0 || (folder.mode & 0o022) !== 0) {
    throw new CloudosError('SECRET_EXPOSED', `the secret ${reference} can be read or replaced by others: ${path}`, {
      remedy: `chmod 600 ${path}; chmod 700 ${dirname(path)}`,
    });
  }
  if (found.size > secretMaxBytes) {
    throw new CloudosError(
      'SECRET_NOT_FOUND',
      `the secret ${reference} has ${found.size} bytes, at most ${secretMaxBytes} fit`,
    );
  }
  return (await readFile(path, 'utf8')).replace(/\n$/, '');
}
