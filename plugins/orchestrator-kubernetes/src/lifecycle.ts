import { type EventData, type RecordedEvent, tellsReadiness } from '@cloudos/sdk';
import { noteEndpoint } from './endpoints.ts';
import type { KubernetesOptions } from './options.ts';
import { addTo, type Group, groupOf, type Instance, removeFrom, type State, type Workload } from './state.ts';

type Backoff = KubernetesOptions['restartBackoffMs'];
type Of<Type extends keyof Data> = RecordedEvent<Type, EventData<Type>>;
type Data = {
  [Type in
    | 'InstanceRequested'
    | 'InstanceWithdrawn'
    | 'InstancePreempted'
    | 'InstancePlaced'
    | 'InstanceRestartOrdered'
    | 'GuestStarted'
    | 'GuestHealthy'
    | 'GuestUnhealthy'
    | 'GuestExited'
    | 'GuestFailed'
    | 'GuestRemoved']: EventData<Type>;
};

/** How long the restart after that many earlier ones waits. The first does not. */
export function backoffMs(crashes: number, { initial, max }: Backoff): number {
  return crashes === 0 ? 0 : Math.min(initial * 2 ** Math.min(crashes - 1, 40), max);
}

export function onRequested(state: State, { data, time }: Of<'InstanceRequested'>): void {
  const workload = state.workloads.get(data.workload);
  if (!workload || state.instances.has(data.instance)) return;
  workload.requested++;
  state.dirtyWorkloads.add(workload);
  const group = groupOf(state, workload, data.revision, workload.spec);
  if (!data.instance.includes(group.hash)) state.usedNames.add(data.instance);
  const instance = newInstance(data.instance, group);
  state.instances.set(instance.id, instance);
  group.unready.add(instance);
  noteProgress(workload, time);
}

export function newInstance(id: string, group: Group): Instance {
  return {
    id,
    group,
    node: undefined,
    attempt: 0,
    running: false,
    startedAt: 0,
    address: undefined,
    probed: false,
    alive: true,
    held: false,
    ready: false,
    readySince: 0,
    crashes: 0,
    dueAt: undefined,
    dueReason: '',
    fate: 'wanted',
  };
}

export function onWithdrawn(state: State, { data, time }: Of<'InstanceWithdrawn'>): void {
  const instance = state.instances.get(data.instance);
  if (!instance) return;
  const { group } = instance;
  if (instance.fate === 'condemned') group.finished++;
  forget(state, instance, instance.fate !== 'lost');
  if (group.revision !== group.workload.spec.revision) group.workload.progressAt = time;
  pruneGroups(group.workload);
}

/** The resource manager took its place: it is stopped and removed without being withdrawn. */
export function onPreempted(state: State, { data }: Of<'InstancePreempted'>): void {
  const instance = state.instances.get(data.instance);
  if (!instance || instance.fate === 'done') return;
  if (instance.fate === 'condemned') instance.group.finished++;
  forget(state, instance, instance.fate !== 'lost');
}

function forget(state: State, instance: Instance, mayRun: boolean): void {
  const { group, node } = instance;
  const { workload } = group;
  setReady(state, instance, false, 0);
  group.unready.delete(instance);
  group.done.delete(instance);
  workload.doomed.delete(instance);
  instance.dueAt = undefined;
  state.instances.delete(instance.id);
  if (node !== undefined) {
    removeFrom(state.byNode, node, instance);
    if (mayRun) {
      workload.leaving.set(instance.id, group.revision);
      state.leaving.set(instance.id, { workload, node });
    }
  }
  if (workload.removed && workloadSize(workload) === 0) state.removed.delete(workload);
  else state.dirtyWorkloads.add(workload);
}

function workloadSize(workload: Workload): number {
  let size = workload.doomed.size;
  for (const group of workload.groups.values()) size += group.unready.size + group.ready.size + group.done.size;
  return size;
}

export function onPlaced(state: State, { data }: Of<'InstancePlaced'>): void {
  const instance = state.instances.get(data.instance);
  if (instance) moveTo(state, instance, data.node);
}

function moveTo(state: State, instance: Instance, node: string): void {
  if (instance.node === node) return;
  if (instance.node !== undefined) removeFrom(state.byNode, instance.node, instance);
  instance.node = node;
  addTo(state.byNode, node, instance);
}

export function onRestartOrdered(state: State, { data }: Of<'InstanceRestartOrdered'>): void {
  const instance = state.instances.get(data.instance);
  if (!instance || data.attempt <= instance.attempt) return;
  instance.attempt = data.attempt;
  instance.running = false;
  instance.dueAt = undefined;
  instance.startedAt = 0;
  instance.crashes++;
  setReady(state, instance, false, 0);
}

export function onStarted(state: State, { data, time }: Of<'GuestStarted'>): void {
  const instance = state.instances.get(data.instance);
  if (!instance || data.attempt < instance.attempt || instance.fate === 'lost') return;
  moveTo(state, instance, data.node);
  if (!instance.running || data.attempt > instance.attempt) {
    instance.attempt = data.attempt;
    instance.running = true;
    instance.startedAt = time;
    instance.probed = false;
    instance.alive = true;
    instance.held = false;
    instance.dueAt = undefined;
    setReady(state, instance, false, 0);
  }
  instance.address = data.address;
  judge(state, instance, time);
  if (instance.ready) noteEndpoint(state, instance);
}

export function onHealthy(state: State, { data, time }: Of<'GuestHealthy'>): void {
  const instance = state.instances.get(data.instance);
  if (!instance || data.attempt !== instance.attempt) return;
  const told = tellsReadiness(instance.group.part.template);
  if (data.probe === 'readiness' || (data.probe === 'startup' && !told)) instance.probed = true;
  instance.held = false;
  judge(state, instance, time);
}

export function onUnhealthy(state: State, { data, time }: Of<'GuestUnhealthy'>, backoff: Backoff): void {
  const instance = state.instances.get(data.instance);
  if (!instance || data.attempt !== instance.attempt) return;
  if (data.code !== undefined) instance.held = true;
  if (data.probe === 'readiness') instance.probed = false;
  else if (instance.alive && instance.running) {
    instance.alive = false;
    fail(state, instance, time, `${data.probe} probe: ${data.reason}`, backoff, true);
  }
  judge(state, instance, time);
}

export function onExited(state: State, { data, time }: Of<'GuestExited'>, backoff: Backoff): void {
  const instance = state.instances.get(data.instance);
  if (!instance || data.attempt < instance.attempt || instance.fate === 'lost') return;
  const expected = !instance.alive && instance.dueAt !== undefined;
  instance.attempt = data.attempt;
  instance.running = false;
  setReady(state, instance, false, 0);
  if (expected) return;
  if (instance.fate === 'condemned') {
    end(state, instance, 'done');
    return;
  }
  const how = data.signal ? `signal ${data.signal}` : `exit code ${data.exitCode}`;
  fail(state, instance, time, `${data.reason} (${how})`, backoff, data.exitCode !== 0);
}

export function onFailed(state: State, { data, time }: Of<'GuestFailed'>, backoff: Backoff): void {
  if (data.stage === 'stop' || data.stage === 'remove') return;
  const instance = state.instances.get(data.instance);
  if (!instance || data.attempt < instance.attempt || instance.fate === 'lost') return;
  instance.attempt = data.attempt;
  instance.running = false;
  setReady(state, instance, false, 0);
  // what could never run has not failed by itself: it is tried again whatever the restart policy
  fail(state, instance, time, `${data.stage} failed: ${data.reason}`, backoff, true, data.stage === 'create');
}

export function onRemoved(state: State, { data }: Of<'GuestRemoved'>): void {
  settleLeaving(state, data.instance);
  const instance = state.instances.get(data.instance);
  if (instance && instance.fate !== 'done') end(state, instance, 'lost');
}

/** The node is gone, and what it ran with it. In the order of names: the same whoever tells. */
export function onNodeGone(state: State, node: string): void {
  const there = [...(state.byNode.get(node) ?? [])].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const instance of there) if (instance.fate !== 'done') end(state, instance, 'lost');
  for (const [id, left] of state.leaving) if (left.node === node) settleLeaving(state, id);
}

function settleLeaving(state: State, id: string): void {
  const left = state.leaving.get(id);
  if (!left) return;
  state.leaving.delete(id);
  left.workload.leaving.delete(id);
  if (!left.workload.removed) state.dirtyWorkloads.add(left.workload);
}

/** A run ended without being asked to: again after the backoff, or never more. */
function fail(
  state: State,
  instance: Instance,
  time: number,
  reason: string,
  backoff: Backoff,
  failed: boolean,
  always = false,
): void {
  const { restart } = instance.group.part.template;
  if (!always && (restart === 'never' || (restart === 'on-failure' && !failed))) {
    end(state, instance, instance.running ? 'condemned' : 'done');
    return;
  }
  if (instance.startedAt > 0 && time - instance.startedAt >= backoff.resetAfter) instance.crashes = 0;
  instance.dueAt = time + backoffMs(instance.crashes, backoff);
  instance.dueReason = reason;
  if (!instance.running) instance.startedAt = 0;
  state.restarts.add(instance.dueAt, instance);
}

function end(state: State, instance: Instance, fate: 'lost' | 'done' | 'condemned'): void {
  if (instance.fate === 'lost') return;
  const { group } = instance;
  setReady(state, instance, false, 0);
  instance.fate = fate;
  instance.running &&= fate === 'condemned';
  instance.dueAt = undefined;
  group.unready.delete(instance);
  // what has ended for good still counts: it is not replaced
  if (fate === 'lost') group.done.delete(instance);
  else group.done.add(instance);
  if (fate === 'done') group.workload.doomed.delete(instance);
  else group.workload.doomed.add(instance);
  state.dirtyWorkloads.add(group.workload);
}

function judge(state: State, instance: Instance, time: number): void {
  const { template } = instance.group.part;
  const probed = instance.probed || (!tellsReadiness(template) && !template.startup);
  const able = instance.running && instance.alive && !instance.held;
  setReady(state, instance, able && probed && instance.fate === 'wanted', time);
}

function setReady(state: State, instance: Instance, ready: boolean, time: number): void {
  if (instance.ready === ready) return;
  const { group } = instance;
  const { workload } = group;
  instance.ready = ready;
  instance.readySince = time;
  (ready ? group.unready : group.ready).delete(instance);
  (ready ? group.ready : group.unready).add(instance);
  noteEndpoint(state, instance);
  if (ready) noteProgress(workload, time);
  state.dirtyWorkloads.add(workload);
}

/** A rollout moves when more instances of its revision exist or are ready than ever before. */
function noteProgress(workload: Workload, time: number): void {
  const group = workload.groups.get(workload.spec.revision);
  if (!group) return;
  const [updated, ready] = [group.unready.size + group.ready.size, group.ready.size];
  if (updated <= workload.updatedPeak && ready <= workload.readyPeak) return;
  workload.updatedPeak = Math.max(updated, workload.updatedPeak);
  workload.readyPeak = Math.max(ready, workload.readyPeak);
  workload.progressAt = time;
}

/** Revisions that can be returned to, unless the manifest says otherwise (`revisionHistoryLimit`). */
export const revisionHistoryDefault = 10;

/** Drops the oldest revisions that have no instance and are past the limit. */
export function pruneGroups(workload: Workload): void {
  const spec = (workload.spec.manifest as { spec?: { revisionHistoryLimit?: unknown } } | undefined)?.spec;
  const given = spec?.revisionHistoryLimit;
  const limit = typeof given === 'number' ? given : revisionHistoryDefault;
  if (workload.groups.size <= limit + 1) return;
  const idle = [...workload.groups.values()].filter(
    ({ revision, unready, ready, done }) =>
      revision !== workload.spec.revision && unready.size + ready.size + done.size === 0,
  );
  idle.sort((a, b) => a.revision - b.revision);
  for (const group of idle.slice(0, Math.max(0, idle.length - limit))) workload.groups.delete(group.revision);
}
