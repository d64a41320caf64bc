import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ResourceVector } from '@cloudos/sdk';
import type { ControlGroupLayout } from './control-groups.ts';

/**
 * Writes the limits of a zone (0: none) and its share of the processor into its groups.
 * @param fresh the groups were just made: what is not limited is not written
 */
export function writeLimits(
  { v1, v2 }: Pick<ControlGroupLayout, 'v1' | 'v2'>,
  zone: string,
  limits: ResourceVector,
  requests: ResourceVector,
  { fresh }: { readonly fresh: boolean },
): void {
  const isWritten = (limit: number) => !fresh || limit > 0;
  if (v1.memory && isWritten(limits.memoryBytes)) memoryV1(join(v1.memory, zone), limits.memoryBytes);
  if (v1.cpu) {
    if (isWritten(limits.cpuMillis)) {
      writeFileSync(join(v1.cpu, zone, 'cpu.cfs_period_us'), '100000');
      writeFileSync(join(v1.cpu, zone, 'cpu.cfs_quota_us'), limits.cpuMillis > 0 ? String(quotaMicros(limits)) : '-1');
    }
    writeFileSync(join(v1.cpu, zone, 'cpu.shares'), String(sharesOf(requests)));
  }
  // One more: the first process, which reaps and passes signals on, is not the guest's own.
  const pids = limits.pids > 0 ? String(limits.pids + 1) : 'max';
  if (v1.pids && isWritten(limits.pids)) writeFileSync(join(v1.pids, zone, 'pids.max'), pids);
  if (!v2) return;
  const directory = join(v2.parent, zone);
  if (v2.controllers.includes('memory') && isWritten(limits.memoryBytes)) {
    writeFileSync(join(directory, 'memory.max'), limits.memoryBytes > 0 ? String(limits.memoryBytes) : 'max');
    tryWrite(join(directory, 'memory.swap.max'), limits.memoryBytes > 0 ? '0' : 'max');
  }
  if (v2.controllers.includes('cpu')) {
    if (isWritten(limits.cpuMillis)) {
      writeFileSync(join(directory, 'cpu.max'), `${limits.cpuMillis > 0 ? quotaMicros(limits) : 'max'} 100000`);
    }
    // The conversion of runc, crun and systemd from shares (2 to 262144) to weight (1 to 10000).
    writeFileSync(join(directory, 'cpu.weight'), String(1 + Math.floor(((sharesOf(requests) - 2) * 9999) / 262142)));
  }
  if (v2.controllers.includes('pids') && isWritten(limits.pids)) writeFileSync(join(directory, 'pids.max'), pids);
}

/** The limit with swap is never below the one without, at no moment: whichever way it goes, one of them goes first. */
function memoryV1(directory: string, bytes: number): void {
  const value = bytes > 0 ? String(bytes) : '-1';
  const memory = join(directory, 'memory.limit_in_bytes');
  const withSwap = join(directory, 'memory.memsw.limit_in_bytes');
  const wentFirst = tryWrite(withSwap, value);
  writeFileSync(memory, value);
  if (!wentFirst) tryWrite(withSwap, value);
}

/** Per 100 ms; the kernel takes no less than 1 ms. */
function quotaMicros(limits: ResourceVector): number {
  return Math.max(1000, Math.round(limits.cpuMillis * 100));
}

function sharesOf(requests: ResourceVector): number {
  return Math.min(262_144, Math.max(2, Math.round((requests.cpuMillis * 1024) / 1000)));
}

function tryWrite(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'r+' });
    return true;
  } catch {
    return false;
  }
}
