import { CloudosError, errorCode, messageOf } from '@cloudos/sdk';

/** Turns what the file system says into an error with a code: DISK_FULL, PERMISSION_DENIED; others stay as they are. */
export function storeFailure(error: unknown, path: string): unknown {
  if (errorCode(error) !== undefined) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new CloudosError('DISK_FULL', `no space is left for images in ${path}`, {
      cause: error,
      remedy: 'free space there: `cloudos image gc`, or remove images',
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new CloudosError('PERMISSION_DENIED', `images in ${path}: ${messageOf(error)}`, {
      cause: error,
      remedy: 'run as the user that the directory belongs to',
    });
  }
  return error;
}
