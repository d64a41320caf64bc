import { CloudosError, errorCode } from '@cloudos/sdk';

/** Runs an operation, and tells with DISK_FULL when it failed for want of space where zones are kept. */
export async function tellingFullDisk<T>(directory: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const isFull =
      code === 'ENOSPC' || code === 'EDQUOT' || /No space left on device|Disk quota exceeded/.test(String(error));
    if (!isFull || errorCode(error) === 'DISK_FULL') throw error;
    throw new CloudosError('DISK_FULL', `no space is left for zones in ${directory}`, { cause: error });
  }
}
