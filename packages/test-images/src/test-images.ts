import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, removeTree } from '@cloudos/host-tools';
import { type ImageStore, importImage, type OciImage } from '@cloudos/images';
import { buildProgram } from './programs.ts';

/** Why the images cannot be made here, with the command that changes it; undefined when they can. */
export function obstacleToTestImages(): string | undefined {
  if (!findTool('gcc')) return 'no compiler: apt-get install gcc libc6-dev';
  if (!staticLibraryIsThere()) return 'no static C library: apt-get install libc6-dev';
  if (!busyboxPath()) return 'no static busybox: apt-get install busybox-static';
  return undefined;
}

/**
 * The key-value counter alone: `/counter`, which listens on port 80 (`PORT`). Less than a megabyte, nothing else in it.
 * Imported as `counter:1`.
 */
export function counterImage(store: ImageStore): Promise<OciImage> {
  const program = { entrypoint: ['/counter'], env: { PATH: '/' }, workingDir: '/' };
  return make(store, 'counter:1', program, async (root) => {
    await install(await buildProgram('counter'), join(root, 'counter'));
  });
}

/**
 * A small userland: busybox with its applets, `probe` and `counter` in `/bin`, what programs expect in `/etc`. In it the
 * conformance suite runs where there is no Node.js. Imported as `shell:1`.
 */
export function shellImage(store: ImageStore): Promise<OciImage> {
  const program = { cmd: ['/bin/sh'], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, workingDir: '/' };
  return make(store, 'shell:1', program, async (root) => {
    for (const name of ['bin', 'etc', 'dev', 'proc', 'sys', 'root', 'usr/bin', 'var/log', 'run']) {
      await mkdir(join(root, name), { recursive: true });
    }
    await mkdir(join(root, 'tmp'));
    await chmod(join(root, 'tmp'), 0o1777);
    const busybox = busyboxPath() ?? 'busybox';
    await install(busybox, join(root, 'bin/busybox'));
    const applets = execFileSync(busybox, ['--list']).toString().split('\n').filter(Boolean);
    for (const applet of applets.filter((name) => name !== 'busybox')) {
      await symlink('busybox', join(root, 'bin', applet));
    }
    for (const name of ['probe', 'counter'] as const) await install(await buildProgram(name), join(root, 'bin', name));
    await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n');
    await writeFile(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
    await writeFile(join(root, 'etc/hosts'), '127.0.0.1 localhost\n');
  });
}

async function make(
  store: ImageStore,
  reference: string,
  program: NonNullable<NonNullable<Parameters<typeof importImage>[2]>['program']>,
  fill: (root: string) => Promise<void>,
): Promise<OciImage> {
  const root = await mkdtemp(join(tmpdir(), 'cloudos-test-image-'));
  try {
    await chmod(root, 0o755);
    await fill(root);
    const [image] = await importImage(store, { from: root, form: 'root-directory' }, { reference, program });
    if (image?.kind !== 'oci') throw new Error(`${reference} is ${image?.kind}`);
    return image;
  } finally {
    await removeTree(root);
  }
}

async function install(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  await chmod(to, 0o755);
}

function busyboxPath(): string | undefined {
  const path = findTool('busybox');
  if (path === undefined) return undefined;
  try {
    const interpreter = execFileSync('readelf', ['-l', path], { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
    return interpreter.includes('interpreter') ? undefined : path;
  } catch {
    return path;
  }
}

function staticLibraryIsThere(): boolean {
  try {
    const path = execFileSync('gcc', ['-print-file-name=libc.a'], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
    return path.includes('/') && existsSync(path);
  } catch {
    return false;
  }
}
