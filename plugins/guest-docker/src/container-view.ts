import { signalName } from '@cloudos/host-tools';
import type { GuestExit, GuestStatus } from '@cloudos/sdk';
import type { ContainerInspectInfo } from 'dockerode';
import type { GuestRecord } from './guest-record.ts';

/** Labels by which the containers of one data directory are known. */
export const labels = {
  owner: 'io.cloudos.owner',
  instance: 'io.cloudos.instance',
  attempt: 'io.cloudos.attempt',
} as const;

/** A guest as its record and its container tell it. No container: it has not run yet, or somebody removed it. */
export function statusOf(record: GuestRecord, container: ContainerInspectInfo | undefined): GuestStatus {
  const { instance } = record.spec;
  const base = { instance, runtime: 'docker', handle: { runtime: 'docker', version: 1, instance } };
  if (record.attempt === 0) return { ...base, state: 'created', attempt: 0 };
  const { attempt } = record;
  if (!isRunning(container)) {
    return { ...base, state: 'exited', attempt, exit: record.exit ?? exitOf(record, container) };
  }
  return {
    ...base,
    state: container.State.Paused ? 'paused' : 'running',
    attempt,
    pid: container.State.Pid,
    ...(record.address === undefined ? {} : { address: { host: record.address } }),
  };
}

export function isRunning(container: ContainerInspectInfo | undefined): container is ContainerInspectInfo {
  return container?.State.Running === true && container.State.Status !== 'removing';
}

/** How the run of the record ended. */
export function exitOf(record: GuestRecord, container: ContainerInspectInfo | undefined): GuestExit {
  const { spec, attempt } = record;
  const about = { instance: spec.instance, attempt };
  const stopped = record.stopping !== undefined && record.stopping === record.container;
  // A daemon that was away while a container ended knows nothing of how: it says code 0 and no time, or an error.
  const unseen = !container || container.State.Status === 'dead' || neverFinished(container);
  if (unseen) {
    const message = container ? 'the engine did not see how the container ended' : 'the container was removed';
    return { ...about, exitCode: null, signal: null, reason: stopped ? 'stopped' : 'lost', message };
  }
  const { ExitCode: code, OOMKilled: outOfMemory } = container.State;
  const signal = signalOf(code);
  const killed = outOfMemory && signal === 'SIGKILL';
  return {
    ...about,
    exitCode: signal ? null : code,
    signal: signal ?? null,
    reason: stopped ? 'stopped' : killed ? 'oom-killed' : signal ? 'signalled' : 'exited',
    ...(killed && !stopped && { message: `over the memory limit of ${spec.template.limits.memoryBytes} bytes` }),
  };
}

function neverFinished({ State }: ContainerInspectInfo): boolean {
  return State.FinishedAt.startsWith('0001-');
}

/** A status over 128 stands for a signal, as in sh: docker-init passes the end of its child on like that. */
function signalOf(status: number): string | undefined {
  return status > 128 ? signalName(status - 128) : undefined;
}

/** The instance that a handle means, or undefined. */
export function instanceOfHandle(handle: unknown): string | undefined {
  const { runtime, instance } = (handle ?? {}) as { runtime?: unknown; instance?: unknown };
  return runtime === 'docker' && typeof instance === 'string' ? instance : undefined;
}
