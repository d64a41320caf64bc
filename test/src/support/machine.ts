import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { digest } from '@cloudos/host-tools';
import { guestPlugins } from './counter-guests.ts';

/** What guests of a kernel could leave behind on a machine. */
export interface Remains {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly controlGroups: readonly string[];
  readonly interfaces: readonly string[];
  readonly namespaces: readonly string[];
}

/**
 * Takes stock of the machine. Two that are equal mean that nothing was left in between by the kernel with that state
 * directory, whose node is `local`. Control groups, which all tests of the machine share, and processes are those that carry
 * its mark or another of `marks`; nobody else mounts or makes interfaces meanwhile.
 */
export function takeStock(stateDir: string, ...marks: readonly string[]): Remains {
  const drivers = guestPlugins().map((runtime) => digest(path.join(stateDir, 'nodes/local', `guest-${runtime}`), 10));
  const isOurs = (text: string) => [stateDir, ...drivers, ...marks].some((mark) => text.includes(mark));
  return {
    processes: processes().filter(isOurs),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').sort(),
    controlGroups: controlGroups('/sys/fs/cgroup', 4).filter(isOurs).sort(),
    interfaces: readdirSync('/sys/class/net').sort(),
    namespaces: existsSync('/run/netns') ? readdirSync('/run/netns').sort() : [],
  };
}

/** The command line of every process but this one. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()}`];
      } catch {
        return [];
      }
    });
}

function controlGroups(dir: string, depth: number): string[] {
  if (depth === 0) return [];
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => [path.join(dir, name), ...controlGroups(path.join(dir, name), depth - 1)]);
  } catch {
    return [];
  }
}
