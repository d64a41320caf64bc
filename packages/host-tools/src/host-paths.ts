import { realpath, stat } from 'node:fs/promises';
import { sep } from 'node:path';
import { CloudosError, type GuestMount } from '@cloudos/sdk';

/** A mount whose path was looked up: `hostPath` has no symbolic link left in it. */
export interface CheckedMount extends GuestMount {
  readonly directory: boolean;
}

/**
 * Checks the mounts of a guest against the directories that the configuration of its driver allows: what a path means
 * after all its symbolic links counts.
 * @throws CloudosError HOST_PATH_FORBIDDEN, GUEST_SPEC_INVALID when a path is not there
 */
export async function checkMounts(
  mounts: readonly GuestMount[] | undefined,
  allowed: readonly string[],
): Promise<CheckedMount[]> {
  const roots = await Promise.all(allowed.map((path) => realpath(path).catch(() => undefined)));
  return Promise.all((mounts ?? []).map((mount) => check(mount, roots, allowed)));
}

async function check(
  mount: GuestMount,
  roots: readonly (string | undefined)[],
  allowed: readonly string[],
): Promise<CheckedMount> {
  const { hostPath, target } = mount;
  if (target === '/') throw new CloudosError('GUEST_SPEC_INVALID', 'a mount cannot replace the root of a guest');
  const real = await realpath(hostPath).catch(() => undefined);
  const isAllowed = roots.some((root) => root !== undefined && real !== undefined && isWithin(real, root));
  if (isAllowed && real !== undefined) {
    return { ...mount, hostPath: real, directory: (await stat(real)).isDirectory() };
  }
  // Whether a path outside of the allowed ones exists is not told.
  const named = allowed.some((path) => isWithin(hostPath, path.replace(/\/+$/, '') || '/'));
  if (named && real === undefined) {
    throw new CloudosError('GUEST_SPEC_INVALID', `the path ${hostPath} of a mount is not there`, {
      remedy: 'make it on the node first',
    });
  }
  throw new CloudosError(
    'HOST_PATH_FORBIDDEN',
    `the mount of ${hostPath} is not below a directory that is allowed (${allowed.join(', ') || 'none is'})`,
  );
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}${sep}`);
}
