import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { LmdbEventLog } from './lmdb.log.ts';

const flush = vi.hoisted(() => ({ failsWith: undefined as Error | undefined }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const fdatasync = (fd: number, callback: (error: Error | null) => void) =>
    flush.failsWith ? setImmediate(callback, flush.failsWith) : fs.fdatasync(fd, callback);
  return { ...fs, fdatasync };
});

it('goes no further after a flush that failed, whatever the reason: what was refused could be there all the same', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'cloudos-lmdb-'));
  try {
    const failures: string[] = [];
    const log = await LmdbEventLog.open({ directory, onFailure: ({ code }) => failures.push(code) });
    // The first go into the database while a segment of the journal is being made.
    for (let n = 0; n < 20; n++) {
      await log.append('s', [{ type: 'x-test-Numbered', data: { n } }], n - 1 < 0 ? 'none' : n - 1);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    flush.failsWith = Object.assign(new Error('ENOSPC: no space left on device, fdatasync'), { code: 'ENOSPC' });
    const refused = log.append('s', [{ type: 'x-test-Numbered', data: { n: 20 } }], 19);
    await expect(refused).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    flush.failsWith = undefined;
    await expect(log.append('s', [], 'any')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(failures).toEqual(['LOG_UNAVAILABLE']);
    await log.close().catch(() => {});
    const again = await LmdbEventLog.open({ directory });
    expect(await again.verify()).toMatchObject({ ok: true });
    expect(again.head()).toBeGreaterThanOrEqual(19);
    await again.close();
  } finally {
    flush.failsWith = undefined;
    await rm(directory, { recursive: true, force: true });
  }
});
