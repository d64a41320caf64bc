import { event, type GuestHealth, type GuestStatus, type NewEvent, tellsReadiness } from '@cloudos/sdk';
import type { InstanceRecord } from '../cluster/cluster-state.ts';

/**
 * What the log has missed about a guest while nobody watched: the difference between what it says and what the driver
 * lists now (undefined: nothing of that name).
 */
export function adoptionEvents(node: string, record: InstanceRecord, status: GuestStatus | undefined): NewEvent[] {
  const about = { instance: record.instance, node };
  const recordedRun = record.guest === 'running';
  if (!status) {
    if (!recordedRun) return [];
    const message = 'the guest was gone when the node agent looked for it';
    return [
      event('GuestExited', {
        ...about,
        attempt: record.attempt,
        exitCode: null,
        signal: null,
        reason: 'lost',
        message,
      }),
    ];
  }
  const events: NewEvent[] = [];
  if (record.guest === 'none') {
    events.push(event('GuestCreated', { ...about, runtime: status.runtime, handle: status.handle }));
  }
  // A later run than the one that is there was tried already and failed: that is recorded, this one is history.
  if (status.state === 'created' || status.attempt === 0 || status.attempt < record.attempt) return events;
  const sameRun = record.attempt === status.attempt;
  if (!(sameRun && (recordedRun || record.guest === 'exited'))) events.push(startedEvent(node, status));
  if (status.state === 'exited' && status.exit && !(sameRun && record.guest === 'exited')) {
    events.push(exitedEvent(node, status.exit));
  }
  return events;
}

/** What the log does not say yet of whether a guest can go on, as its runtime sees it. */
export function healthEvents(node: string, record: InstanceRecord, health: GuestHealth): NewEvent[] {
  const { instance, attempt } = health;
  const about = { instance, node, attempt, probe: 'readiness' as const };
  if (!health.ok) {
    const { code, reason, remedy } = health;
    return record.ready || record.reason !== reason
      ? [event('GuestUnhealthy', { ...about, reason, code, remedy })]
      : [];
  }
  // Where there is a probe, that tells when it is ready again.
  const { template, startedUp, guest, ready } = record;
  const isProbed = (template && tellsReadiness(template)) || (template?.startup !== undefined && !startedUp);
  return isProbed || guest !== 'running' || ready ? [] : [event('GuestHealthy', about)];
}

/** What is recorded of a guest that runs. */
export function startedEvent(node: string, status: GuestStatus): NewEvent {
  const { instance, runtime, attempt, address, pid } = status;
  return event('GuestStarted', {
    instance,
    node,
    runtime,
    attempt,
    ...(address && { address: { host: address.host, ...(address.ports && { ports: { ...address.ports } }) } }),
    ...(pid !== undefined && { pid }),
  });
}

/** What is recorded of a guest that has ended. */
export function exitedEvent(node: string, exit: NonNullable<GuestStatus['exit']>): NewEvent {
  const { instance, attempt, exitCode, signal, reason, message } = exit;
  const said = message === undefined ? {} : { message };
  return event('GuestExited', { instance, node, attempt: Math.max(1, attempt), exitCode, signal, reason, ...said });
}
