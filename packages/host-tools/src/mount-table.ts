import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from './host-command.ts';

/** One line of the mount table of this process (proc_pid_mountinfo(5)). */
export interface MountEntry {
  readonly point: string;
  readonly type: string;
  /** A device, or whatever the file system is made of. */
  readonly source: string;
  /** Of the mount and of the file system: `rw`, `nodev`, `prjquota`. */
  readonly options: ReadonlySet<string>;
}

/** All mounts, in the order in which they were made. */
export function mountTable(text = readFileSync('/proc/self/mountinfo', 'utf8')): MountEntry[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [mount = '', rest = ''] = line.split(' - ');
      const [, , , , point = '', options = ''] = mount.split(' ');
      const [type = '', source = '', superOptions = ''] = rest.split(' ');
      return {
        point: plain(point),
        type,
        source: plain(source),
        options: new Set(`${options},${superOptions}`.split(',')),
      };
    });
}

/** What is mounted at exactly that directory, the uppermost. */
export function mountAt(directory: string, table = mountTable()): MountEntry | undefined {
  const real = withoutLinks(directory);
  return table.findLast(({ point }) => point === real);
}

/** The mount that a path lies on; a path that is not there is taken as it is written. */
export function mountOf(path: string, table = mountTable()): MountEntry | undefined {
  const real = withoutLinks(path);
  const around = table.filter(({ point }) => point === '/' || point === real || real.startsWith(`${point}/`));
  const longest = Math.max(...around.map(({ point }) => point.length));
  return around.findLast(({ point }) => point.length === longest);
}

function withoutLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // of another root, or not there yet
  }
}

/** Unmounts whatever is mounted on or below a directory, the innermost first: what a daemon that was killed has left. */
export async function unmountBelow(directory: string): Promise<void> {
  const real = withoutLinks(directory);
  const points = mountTable()
    .map(({ point }) => point)
    .filter((point) => point === real || point.startsWith(join(real, '/')));
  for (const point of points.reverse()) await runCommand('umount', ['-l', point]).catch(() => {});
}

/** Spaces and the like are written as three octal digits. */
function plain(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
}
