import { signalName } from '@cloudos/host-tools';
import type { GuestExit, GuestStats, GuestStatus } from '@cloudos/sdk';
import type { ProgramEnd } from './guest-files.ts';
import type { GuestRecord } from './guest-record.ts';

/** An instance as the daemon shows it, as far as it matters here. */
export interface Instance {
  readonly name: string;
  readonly status: string;
  readonly config: Readonly<Record<string, string>>;
}

export interface InstanceState {
  readonly status: string;
  readonly pid: number;
  readonly processes: number;
  readonly cpu?: { readonly usage: number };
  readonly memory?: { readonly usage: number; readonly usage_peak: number };
  readonly disk?: Readonly<Record<string, { readonly usage: number }>> | null;
  readonly network?: Readonly<
    Record<string, { readonly counters: { readonly bytes_received: number; readonly bytes_sent: number } }>
  > | null;
}

export function isRunning(state: Pick<InstanceState, 'status'> | undefined): boolean {
  return state?.status === 'Running' || state?.status === 'Frozen' || state?.status === 'Ready';
}

/** A guest as its record and its instance tell it. */
export function statusOf(record: GuestRecord, state: InstanceState | undefined, exit: () => GuestExit): GuestStatus {
  const { instance } = record.spec;
  const base = { instance, runtime: 'lxd', handle: { runtime: 'lxd', version: 1, instance } };
  if (record.attempt === 0) return { ...base, state: 'created', attempt: 0 };
  const { attempt } = record;
  if (!state || !isRunning(state)) return { ...base, state: 'exited', attempt, exit: record.exit ?? exit() };
  return {
    ...base,
    state: state.status === 'Frozen' ? 'paused' : 'running',
    attempt,
    ...(state.pid > 0 && { pid: state.pid }),
    ...(record.address === undefined ? {} : { address: { host: record.address } }),
  };
}

/** How the last attempt ended: what its first process has written, or that it was killed before it could. */
export function exitOf(record: GuestRecord, end: ProgramEnd | undefined, isThere: boolean): GuestExit {
  const { spec, attempt } = record;
  const about = { instance: spec.instance, attempt };
  const stopped = record.stopping === attempt;
  if (!isThere) {
    return { ...about, exitCode: null, signal: null, reason: 'lost', message: 'the instance was removed' };
  }
  if (!record.program) {
    // A machine was shut down or has shut itself down; LXC tells nothing of its init.
    return { ...about, exitCode: 0, signal: null, reason: stopped ? 'stopped' : 'exited' };
  }
  if (end?.attempt !== attempt) {
    return { ...about, exitCode: null, signal: 'SIGKILL', reason: stopped ? 'stopped' : 'signalled' };
  }
  const signal = end.status > 128 ? signalName(end.status - 128) : undefined;
  const killed = end.oomKills > 0 && signal === 'SIGKILL';
  return {
    ...about,
    exitCode: signal ? null : end.status,
    signal: signal ?? null,
    reason: stopped ? 'stopped' : killed ? 'oom-killed' : signal ? 'signalled' : 'exited',
    ...(killed && !stopped && { message: `over the memory limit of ${spec.template.limits.memoryBytes} bytes` }),
  };
}

/** The instance that a handle means, or undefined. */
export function instanceOfHandle(handle: unknown): string | undefined {
  const { runtime, instance } = (handle ?? {}) as { runtime?: unknown; instance?: unknown };
  return runtime === 'lxd' && typeof instance === 'string' ? instance : undefined;
}

/** @param ours processes that are the driver's and not the guest's */
export function usageOf(state: InstanceState, ours: number): GuestStats {
  const counters = Object.entries(state.network ?? {})
    .filter(([name]) => name !== 'lo')
    .map(([, { counters: counted }]) => counted);
  const disk = state.disk?.root?.usage;
  return {
    ...(state.cpu && state.cpu.usage >= 0 && { cpuNanos: state.cpu.usage }),
    ...(state.memory && state.memory.usage > 0 && { memoryBytes: state.memory.usage }),
    ...(state.memory && state.memory.usage_peak > 0 && { memoryPeakBytes: state.memory.usage_peak }),
    ...(state.processes > ours && { pids: state.processes - ours }),
    ...(disk !== undefined && disk > 0 && { diskBytes: disk }),
    ...(counters.length > 0 && {
      networkReceivedBytes: counters.reduce((sum, each) => sum + each.bytes_received, 0),
      networkSentBytes: counters.reduce((sum, each) => sum + each.bytes_sent, 0),
    }),
  };
}
