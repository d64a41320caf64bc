import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findTool } from '@cloudos/host-tools';
import { ImageStore } from '../image-store.ts';
import { importImage } from '../import-image.ts';

export const busyboxReference = 'busybox:test';

/** Why no image of busybox can be made here; undefined when it can. */
export function lacksBusybox(): string | undefined {
  return findTool('busybox') ? undefined : 'there is no busybox (apt-get install busybox-static)';
}

/**
 * Imports an image of the host's own busybox, with every applet in the search path, as `busybox:test`: the smallest
 * userland that the conformance suite runs in. The busybox must be a static one (Debian: busybox-static).
 */
export async function importBusybox(stateDir: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'cloudos-busybox-'));
  try {
    await writeBusyboxRoot(directory);
    await importImage(
      ImageStore.of(stateDir),
      { from: directory, form: 'root-directory' },
      { reference: busyboxReference, program: { cmd: ['/bin/sh'] } },
    );
    return busyboxReference;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A root file system of busybox in that directory. */
export async function writeBusyboxRoot(directory: string): Promise<void> {
  const busybox = findTool('busybox');
  if (!busybox) throw new Error(lacksBusybox());
  const folders = ['bin', 'dev', 'etc', 'proc', 'root', 'run', 'sys', 'usr/bin', 'var'];
  for (const folder of folders) await mkdir(join(directory, folder), { recursive: true, mode: 0o755 });
  await mkdir(join(directory, 'tmp'));
  await chmod(join(directory, 'tmp'), 0o1777);
  await copyFile(busybox, join(directory, 'bin/busybox'));
  const { stdout } = await promisify(execFile)(busybox, ['--list']);
  for (const applet of stdout.split('\n').filter((name) => name !== '' && name !== 'busybox')) {
    await symlink('busybox', join(directory, 'bin', applet));
  }
  await writeFile(join(directory, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  await writeFile(join(directory, 'etc/group'), 'root:x:0:\n');
}
