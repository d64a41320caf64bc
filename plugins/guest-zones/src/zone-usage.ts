import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { GuestStats } from '@cloudos/sdk';

/** Linux counts processor time for user space in hundredths of a second on every architecture. */
const nanosPerTick = 10_000_000;

/**
 * What the processes of a zone use, added up from proc(5): for hosts without control groups. Time of processes whose
 * parents have ended is counted as far as a parent waited for them.
 */
export function zoneUsage(pid: number): GuestStats {
  const namespace = linkOf(pid);
  if (namespace === undefined) return {};
  let cpuNanos = 0;
  let memoryBytes = 0;
  let pids = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || linkOf(Number(name)) !== namespace) continue;
    const stat = read(`/proc/${name}/stat`);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0);
    cpuNanos += ticks * nanosPerTick;
    memoryBytes += 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${name}/status`))?.[1] ?? 0);
    pids += 1;
  }
  return { cpuNanos, memoryBytes, pids };
}

function linkOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
