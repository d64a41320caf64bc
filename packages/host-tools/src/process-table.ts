import { readdirSync, readFileSync } from 'node:fs';

/** A process named so that a reuse of its pid is told apart: pid and start time (clock ticks since boot). */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** Start time of a process, or undefined when there is none or it is a zombie. Field 22 of proc(5) stat. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export function isAlive({ pid, startTime }: ProcessIdentity): boolean {
  return startTimeOf(pid) === startTime;
}

/** Sends a signal to exactly that process. False when it is gone. */
export function signalProcess(process_: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(process_)) return false;
  try {
    return process.kill(process_.pid, signal);
  } catch {
    return false;
  }
}

/** Every process that was given that argument. For what was started and not yet written down when a driver died. */
export function processesWithArgument(argument: string): ProcessIdentity[] {
  const found: ProcessIdentity[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(argument)) continue;
    } catch {
      continue;
    }
    const pid = Number(name);
    const startTime = startTimeOf(pid);
    if (startTime !== undefined && pid !== process.pid) found.push({ pid, startTime });
  }
  return found;
}
