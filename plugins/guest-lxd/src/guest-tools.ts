import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findTool, runCommand } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';

/** Where a guest finds what the driver brings: tools for all guests, and the directory of this one. */
export const guestPaths = { tools: '/.cloudos/tools', own: '/.cloudos/own' } as const;

const tools = ['sh', 'mount'] as const;

/**
 * A shell and mount(8) of the host with the libraries that they are linked with: what a guest's first process is made of,
 * whatever its image has. Made once, in a directory that every guest may read.
 */
export async function prepareTools(dataDir: string): Promise<string> {
  const directory = join(dataDir, 'tools');
  if (existsSync(directory)) return directory;
  const made = making.get(directory) ?? makeTools(directory).finally(() => making.delete(directory));
  making.set(directory, made);
  await made;
  return directory;
}

/** The first guests of a node come at the same time. */
const making = new Map<string, Promise<void>>();

async function makeTools(directory: string): Promise<void> {
  const half = `${directory}.new`;
  await rm(half, { recursive: true, force: true });
  await mkdir(half, { recursive: true, mode: 0o755 });
  for (const tool of tools) {
    const path = findTool(tool);
    if (!path) {
      throw new CloudosError('RUNTIME_UNAVAILABLE', `there is no ${tool} on this host`, {
        remedy: 'apt-get install dash mount',
      });
    }
    await copyFile(path, join(half, tool));
    for (const library of await librariesOf(path)) await copyFile(library, join(half, basename(library)));
  }
  await chmod(half, 0o755);
  await rename(half, directory);
}

const libraries = new Map<string, Promise<string[]>>();

/** {@link findLibraries}, once for each tool: they are copied once too. */
function librariesOf(path: string): Promise<string[]> {
  const known = libraries.get(path) ?? findLibraries(path);
  libraries.set(path, known);
  return known;
}

/** The loader among them first. None for a program that is linked statically. */
async function findLibraries(path: string): Promise<string[]> {
  const listed = await runCommand(findTool('ldd') ?? 'ldd', [path]).catch(() => '');
  const found = [...listed.matchAll(/(\/\S+)/g)].map((match) => match[1] ?? '').filter((file) => existsSync(file));
  return found.sort((a, b) => Number(isLoader(b)) - Number(isLoader(a)));
}

function isLoader(path: string): boolean {
  return basename(path).startsWith('ld-');
}

/** The command line of a tool, as a guest runs it. */
export async function toolCommand(directory: string, tool: (typeof tools)[number]): Promise<string> {
  const loader = (await librariesOf(findTool(tool) ?? tool)).find(isLoader);
  const { tools: inGuest } = guestPaths;
  if (!loader || !existsSync(join(directory, basename(loader)))) return `${inGuest}/${tool}`;
  return `${inGuest}/${basename(loader)} --library-path ${inGuest} ${inGuest}/${tool}`;
}
