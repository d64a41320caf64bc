import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ControlGroups, findControlGroups, shellWord } from '@cloudos/host-tools';

/** Control groups for what is made by hand, below the parent of the driver: it removes that in the end. */
export function benchGroups(parent: string): ControlGroups {
  const layout = findControlGroups({
    mounts: readFileSync('/proc/self/mounts', 'utf8'),
    self: readFileSync('/proc/self/cgroup', 'utf8'),
    root: true,
    name: parent,
  });
  return new ControlGroups(layout);
}

/** Lines of sh that write limits (0: none) into the groups. */
export function limitLines(
  { layout: { v1, v2 } }: ControlGroups,
  name: string,
  { memoryBytes, pids, cpuMillis }: { memoryBytes: number; pids: number; cpuMillis: number },
): string {
  const lines: string[] = [];
  const write = (directory: string | undefined, file: string, value: number | string) => {
    if (directory !== undefined) lines.push(`echo ${value} >${shellWord(path.join(directory, name, file))}`);
  };
  const unified = (controller: string) => (v2?.controllers.includes(controller) ? v2.parent : undefined);
  write(v1.memory, 'memory.limit_in_bytes', memoryBytes);
  write(v1.pids, 'pids.max', pids);
  write(unified('memory'), 'memory.max', memoryBytes);
  write(unified('pids'), 'pids.max', pids);
  if (cpuMillis > 0) {
    write(v1.cpu, 'cpu.cfs_quota_us', cpuMillis * 100);
    write(unified('cpu'), 'cpu.max', `"${cpuMillis * 100} 100000"`);
  }
  return lines.join('\n');
}

/** Waits until the groups are empty and removed, 5 s at most. */
export async function gone(isGone: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1_000 && !isGone(); tries++) await new Promise((resolve) => setTimeout(resolve, 5));
}
