import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** What guests could leave behind on a machine. */
export interface Remains {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly controlGroups: readonly string[];
  readonly interfaces: readonly string[];
  readonly namespaces: readonly string[];
}

/** Takes stock of the machine. Two that are equal mean that nothing was left in between. */
export function takeStock(): Remains {
  return {
    processes: processes(),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').sort(),
    controlGroups: controlGroups('/sys/fs/cgroup', 4).sort(),
    interfaces: readdirSync('/sys/class/net').sort(),
    namespaces: existsSync('/run/netns') ? readdirSync('/run/netns').sort() : [],
  };
}

/** Every process that carries a mark of cloudos in its command line or environment, but for this one's family. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return /cloudos-test-/.test(command) ? [`${pid} ${command.slice(0, 200)}`] : [];
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
      .flatMap(({ name }) => [path.join(dir, name), ...controlGroups(path.join(dir, name), depth - 1)])
      .filter((group) => /cloudos/.test(group));
  } catch {
    return [];
  }
}
