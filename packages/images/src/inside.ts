import { lstatSync, mkdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { CloudosError } from '@cloudos/sdk';

/** As many symbolic links as the kernel follows in one path. */
const linksMax = 40;

/** The parts of a name in an archive. @throws CloudosError IMAGE_INVALID when it points out of the archive */
export function partsOf(name: string): string[] {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || name.includes('\0')) {
    throw new CloudosError('IMAGE_INVALID', `the archive has an entry ${JSON.stringify(name)}, which leads out of it`);
  }
  return parts;
}

/**
 * Where a directory of an archive lies below the root. Symbolic links on the way are followed as they would be with the
 * root as `/`: none leads out. Nobody else may change the tree meanwhile.
 * @param make makes what is missing on the way; otherwise undefined is returned for it
 */
export function directoryInside(root: string, parts: readonly string[], make: boolean): string | undefined {
  const ahead = [...parts];
  const done: string[] = [];
  for (let links = 0; ahead.length > 0; ) {
    const part = ahead.shift() ?? '';
    if (part === '..') {
      done.pop();
      continue;
    }
    const path = join(root, ...done, part);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (!found) {
      if (!make) return undefined;
      mkdirSync(path, 0o755);
    } else if (found.isSymbolicLink()) {
      if (++links > linksMax) throw new CloudosError('IMAGE_INVALID', `too many symbolic links in ${parts.join('/')}`);
      const target = readlinkSync(path);
      if (target.startsWith('/')) done.length = 0;
      ahead.unshift(...target.split('/').filter((next) => next !== '' && next !== '.'));
      continue;
    } else if (!found.isDirectory()) {
      if (!make) return undefined;
      throw new CloudosError('IMAGE_INVALID', `${parts.join('/')}: ${part} is no directory`);
    }
    done.push(part);
  }
  return join(root, ...done);
}

/** Where a file of an unpacked archive lies, its symbolic links followed below the root; undefined when it is not there. */
export function fileInside(root: string, name: string): string | undefined {
  let parts = partsOf(name);
  for (let links = 0; links <= linksMax; links++) {
    const directory = directoryInside(root, parts.slice(0, -1), false);
    const last = parts.at(-1);
    if (directory === undefined || last === undefined) return undefined;
    const path = join(directory, last);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isFile()) return path;
    if (!found?.isSymbolicLink()) return undefined;
    const target = readlinkSync(path);
    const base = target.startsWith('/') ? [] : directory.slice(root.length).split('/').filter(Boolean);
    parts = [];
    for (const part of [...base, ...target.split('/')]) {
      if (part === '..') parts.pop();
      else if (part !== '' && part !== '.') parts.push(part);
    }
  }
  return undefined;
}
