import { existsSync, realpathSync, statSync } from 'node:fs';
import { copyFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digest, findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';

/** Where QEMU is in the root: it finds its modules and its firmware by its own place. */
export const qemuInRoot = '/usr/bin/qemu-system-x86_64';
/** What QEMU's microvm loads beside its libraries. Those that the host lacks are part of the program there. */
const modules = ['accel-tcg-x86_64.so'].map((name) => `/usr/lib/x86_64-linux-gnu/qemu/${name}`);
const firmware = ['qboot.rom', 'bios-microvm.bin', 'pvh.bin'].map((name) => `/usr/share/qemu/${name}`);

/**
 * A root file system with QEMU and nothing else: the program, its shared libraries as ldd(1) names them, its firmware.
 * Made once for each version under `directory`; some 50 MB, no shell, no tools.
 */
export async function qemuRoot(qemu: string, directory: string): Promise<{ path: string; key: string }> {
  const { size, mtimeMs } = statSync(realpathSync(qemu));
  const key = digest(`1 ${qemu} ${size} ${mtimeMs}`, 12);
  const path = join(directory, `qemu-root-${key}`);
  if (!existsSync(path)) {
    const made = making.get(path) ?? makeRoot(qemu, path).finally(() => making.delete(path));
    making.set(path, made);
    await made;
  }
  return { path, key };
}

/** The first guests of a node come at the same time. */
const making = new Map<string, Promise<void>>();

async function makeRoot(qemu: string, path: string): Promise<void> {
  const half = `${path}.new-${process.pid}`;
  await rm(half, { recursive: true, force: true });
  for (const folder of ['proc', 'dev', 'guest', 'tmp', 'usr/bin']) {
    await mkdir(join(half, folder), { recursive: true, mode: 0o755 });
  }
  await copyFile(realpathSync(qemu), join(half, qemuInRoot));
  const files = [...(await libraries(qemu)), ...modules, ...firmware].filter((file) => existsSync(file));
  for (const file of files) {
    await mkdir(join(half, dirname(file)), { recursive: true, mode: 0o755 });
    await copyFile(realpathSync(file), join(half, file));
  }
  await rename(half, path).catch(async (error: unknown) => {
    // Another driver was faster.
    await rm(half, { recursive: true, force: true });
    if (!(await stat(path).catch(() => undefined))) throw error;
  });
}

async function libraries(program: string): Promise<string[]> {
  const tool = findTool('ldd');
  if (!tool)
    throw new CloudosError('HOST_COMMAND_FAILED', 'the tool ldd is missing', { remedy: 'apt-get install libc-bin' });
  const all = new Set<string>();
  for (const file of [program, ...modules.filter((module) => existsSync(module))]) {
    for (const line of (await runCommand(tool, [file])).split('\n')) {
      const path = /(?:=>\s*)?(\/\S+)\s+\(0x/.exec(line)?.[1];
      if (path) all.add(path);
    }
  }
  return [...all];
}
