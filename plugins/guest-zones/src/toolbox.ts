import { execFile } from 'node:child_process';
import { existsSync, realpathSync, statSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { digest, findTool, removeTree, timedLogger, toolEnvironment } from '@cloudos/host-tools';
import { seccompLoader } from './seccomp-loader.ts';
import { spawnerProgram } from './spawner-program.ts';

/** Where a zone finds what brings its programs to life: read-only, and no part of its userland. */
export const toolboxTarget = '.zone';

/** Tools of the host that a zone begins with, and that commands enter it with. */
const taken = ['sh', 'umount', 'setpriv', 'env', 'prlimit', 'unshare'] as const;
export type ZoneTool = (typeof taken)[number];

/** Bumped when the toolbox is made differently. */
const toolboxVersion = 3;
const run = promisify(execFile);

export interface Toolbox {
  /** A layer for a root with the host's programs: the filter of system calls alone. */
  readonly filterLayer: string;
  /** A layer for any other root: the tools too. */
  readonly toolsLayer: string;
  /** Words that run a program under the filter of system calls; none where the processor has no loader. */
  readonly seccomp: readonly string[];
  /** Words that run a tool of the host in a zone whose userland is not the host's; undefined where that cannot be. */
  readonly tool?: (name: ZoneTool) => readonly string[];
  /** Words that run the logger on the host; undefined without perl. */
  readonly logger: readonly string[] | undefined;
  /** Words that run the program that launches zones; undefined without perl, or where system calls are numbered otherwise. */
  readonly spawner: readonly string[] | undefined;
}

/**
 * Copies the tools with all that the loader of the host needs for them, unless that was done before. A zone of another
 * userland runs them through the host's loader by name, so that nothing of the zone's own is loaded into a process that
 * still has privileges (`ld.so --inhibit-cache --library-path`, ld.so(8)).
 */
export async function prepareToolbox(dataDir: string): Promise<Toolbox> {
  const tools = taken.map((name) => [name, realpathSync(findTool(name) ?? `/bin/${name}`)] as const);
  const directory = join(dataDir, `toolbox-${fingerprintOf(tools.map(([, path]) => path))}`);
  if (!existsSync(directory)) await make(directory, tools);
  const filterLayer = join(directory, 'filter');
  const toolsLayer = join(directory, 'tools');
  const box = join(toolsLayer, toolboxTarget);
  const name = await readFile(join(directory, 'loader-name'), 'utf8').catch(() => '');
  const prefix = name === '' ? [] : [`/${toolboxTarget}/loader`, ...loaderOptions(name)];
  const perl = findTool('perl');
  return {
    filterLayer,
    toolsLayer,
    seccomp: existsSync(join(box, 'seccomp')) ? [`/${toolboxTarget}/seccomp`] : [],
    ...(existsSync(join(box, 'bin')) ? { tool: (tool) => [...prefix, `/${toolboxTarget}/bin/${tool}`] } : {}),
    logger: perl === undefined ? undefined : [perl, join(directory, 'logger.pl')],
    spawner: perl === undefined || !spawnerProgram() ? undefined : [perl, join(directory, 'spawner.pl')],
  };
}

async function make(directory: string, tools: readonly (readonly [string, string])[]): Promise<void> {
  const half = `${directory}.${process.pid}`;
  await removeTree(half);
  const boxes = ['filter', 'tools'].map((layer) => join(half, layer, toolboxTarget));
  const seccomp = seccompLoader();
  for (const box of boxes) {
    await mkdir(box, { recursive: true, mode: 0o755 });
    if (seccomp) await writeFile(join(box, 'seccomp'), seccomp, { mode: 0o755 });
  }
  await writeFile(join(half, 'logger.pl'), timedLogger);
  await writeFile(join(half, 'spawner.pl'), spawnerProgram() ?? '');
  const box = join(half, 'tools', toolboxTarget);
  try {
    await writeFile(join(half, 'loader-name'), (await copyTools(box, tools)) ?? '');
  } catch {
    // A host whose tools cannot be carried elsewhere: its zones share its userland then.
    for (const name of ['bin', 'lib', 'loader']) await removeTree(join(box, name));
  }
  await rename(half, directory).catch(() => removeTree(half));
}

/** @returns the name of the loader that runs them; undefined for tools that need none */
async function copyTools(half: string, tools: readonly (readonly [string, string])[]): Promise<string | undefined> {
  const libraries = new Set<string>();
  let loader: string | undefined;
  await mkdir(join(half, 'bin'));
  await mkdir(join(half, 'lib'));
  for (const [name, path] of tools) {
    await copyFile(path, join(half, 'bin', name));
    await chmod(join(half, 'bin', name), 0o755);
    const { stdout } = await run(findTool('ldd') ?? 'ldd', [path], { env: { ...toolEnvironment } }).catch(() => ({
      stdout: '',
    }));
    for (const [, library = ''] of stdout.matchAll(/=> (\/\S+) \(0x/g)) libraries.add(library);
    loader ??= /^\s*(\/\S*ld[-.]\S+) \(0x/m.exec(stdout)?.[1];
  }
  for (const library of libraries) await copyFile(library, join(half, 'lib', basename(library)));
  if (loader === undefined) return undefined;
  await copyFile(loader, join(half, 'loader'));
  await chmod(join(half, 'loader'), 0o755);
  const trial = [...loaderOptions(basename(loader), half), join(half, 'bin/env'), '--version'];
  await run(join(half, 'loader'), trial, { env: {} });
  return basename(loader);
}

function loaderOptions(name: string, at = `/${toolboxTarget}`): string[] {
  return [...(name.startsWith('ld-linux') ? ['--inhibit-cache'] : []), '--library-path', join(at, 'lib')];
}

function fingerprintOf(paths: readonly string[]): string {
  const times = paths.map((path) => [path, statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0]);
  return digest(JSON.stringify([toolboxVersion, timedLogger, spawnerProgram(), times]), 12);
}
