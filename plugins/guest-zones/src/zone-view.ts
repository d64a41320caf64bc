import { isAlive, signalName } from '@cloudos/host-tools';
import type { GuestAddress, GuestExit, GuestStatus } from '@cloudos/sdk';
import { zoneName } from './zone-name.ts';
import type { ZoneEnd, ZoneRun, ZoneState, ZoneStore } from './zone-state.ts';

/** A zone as its files and processes tell it. */
export interface ZoneView {
  readonly zone: string;
  readonly state: ZoneState;
  /** `ended-unseen`: no process is left and nobody recorded how it ended. `unborn`: a launch that did not get that far. */
  readonly phase: 'created' | 'running' | 'exited' | 'ended-unseen' | 'unborn';
  readonly run?: ZoneRun;
  readonly exit?: GuestExit;
}

export function viewZone(store: ZoneStore, zone: string): ZoneView | undefined {
  const state = store.state(zone);
  if (!state) return undefined;
  if (state.launch === undefined) return { zone, state, phase: 'created' };
  // The order matters: the record of the end is written before the shim is gone.
  const written = store.run(zone);
  const run = written?.launch === state.launch ? written : undefined;
  const alive = run !== undefined && (isAlive(run.init) || isAlive(run.shim));
  const end = store.end(zone);
  if (end?.launch === state.launch) return { zone, state, phase: 'exited', exit: exitOf(state, end) };
  if (run && alive) return { zone, state, phase: 'running', run };
  return { zone, state, phase: run ? 'ended-unseen' : 'unborn' };
}

/** The last attempt that came to run; 0 before the first. */
export function lastAttempt({ state, phase }: ZoneView): number {
  return phase === 'unborn' ? (state.previousAttempt ?? 0) : state.attempt;
}

export function statusOf(view: ZoneView, bridge: boolean): GuestStatus {
  const { state, zone, run, exit } = view;
  const { instance } = state.spec;
  const base = { instance, runtime: 'zones', handle: { runtime: 'zones', version: 1, zone, instance } };
  if (view.phase === 'created' || view.phase === 'unborn') {
    return { ...base, state: 'created', attempt: lastAttempt(view) };
  }
  const address = addressOf(state, bridge);
  return {
    ...base,
    state: view.phase === 'running' ? (state.paused ? 'paused' : 'running') : 'exited',
    attempt: state.attempt,
    ...(run && view.phase === 'running' ? { pid: run.init.pid } : {}),
    ...(address && view.phase === 'running' ? { address } : {}),
    ...(exit ? { exit } : {}),
  };
}

function addressOf(state: ZoneState, bridge: boolean): GuestAddress | undefined {
  if (bridge) return state.address === undefined ? undefined : { host: state.address };
  return state.ports ? { host: '127.0.0.1', ports: state.ports } : undefined;
}

/** What the record of the shim means. A status over 128 is that of sh for a signal. */
export function exitOf(state: ZoneState, end: ZoneEnd): GuestExit {
  const { instance } = state.spec;
  const stopped = state.stopping === state.launch;
  if (end.status === 'lost') {
    const message = 'the process that waits for the zone was killed, so that nobody saw how it ended';
    return {
      instance,
      attempt: state.attempt,
      exitCode: null,
      signal: null,
      reason: stopped ? 'stopped' : 'lost',
      message,
    };
  }
  const signal = end.status > 128 ? signalName(end.status - 128) : undefined;
  const outOfMemory = end.oomKills > 0 && signal === 'SIGKILL';
  const reason = stopped ? 'stopped' : outOfMemory ? 'oom-killed' : signal ? 'signalled' : 'exited';
  return {
    instance,
    attempt: state.attempt,
    exitCode: signal ? null : end.status,
    signal: signal ?? null,
    reason,
    ...(outOfMemory && !stopped
      ? { message: `over the memory limit of ${state.spec.template.limits.memoryBytes} bytes` }
      : {}),
  };
}

/** The zone that a handle means, or undefined. */
export function zoneOfHandle(handle: unknown): string | undefined {
  const { runtime, instance } = (handle ?? {}) as { runtime?: unknown; instance?: unknown };
  return runtime === 'zones' && typeof instance === 'string' ? zoneName(instance) : undefined;
}
