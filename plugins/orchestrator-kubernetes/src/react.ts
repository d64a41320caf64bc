import type { Decision, NewEvent } from '@cloudos/sdk';
import { planEndpoints } from './endpoints.ts';
import type { KubernetesOptions } from './options.ts';
import { Plan } from './plan.ts';
import { availableIn, isPaused, nextAvailableAt, planInstances, planRemoval } from './rollout.ts';
import { currentGroup, type Service, type State, sizeOf, type Workload } from './state.ts';

/**
 * What follows from the state. Looks only at what has changed or is due: what was found settled is remembered
 * (`dirty…`, `wakeAt`) until something happens to it, which changes no decision.
 */
export function react(state: State, now: number, options: KubernetesOptions): Decision {
  const plan = new Plan(state, options, now);
  for (const instance of state.restarts.due(now, plan.room + 1)) plan.restart(instance);
  for (const workload of state.workloadTimers.due(now, Number.POSITIVE_INFINITY)) state.dirtyWorkloads.add(workload);
  for (const workload of state.dirtyWorkloads) {
    if (plan.room === 0) {
      plan.cut = true;
      break;
    }
    reconcile(state, workload, plan);
  }
  const endpoints = reconcileServices(state, plan);
  const events = plan.events(endpoints);
  const wakeAt = plan.cut ? now : nextWake(state);
  return wakeAt === undefined ? { events } : { events, wakeAt };
}

function nextWake(state: State): number | undefined {
  const times = [state.restarts.next(), state.workloadTimers.next(), state.serviceTimers.next()];
  const least = Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY));
  return Number.isFinite(least) ? least : undefined;
}

function reconcile(state: State, workload: Workload, plan: Plan): void {
  const before = plan.size;
  const wasCut = plan.cut;
  if (workload.removed) planRemoval(workload, plan);
  else {
    const updated = planInstances(workload, plan);
    planRollout(workload, plan, updated, plan.size > before);
  }
  if (plan.size > before || (plan.cut && !wasCut)) return;
  state.dirtyWorkloads.delete(workload);
  const wakeAt = workload.removed ? undefined : wakeOf(workload, plan.now);
  if (wakeAt === workload.wakeAt) return;
  workload.wakeAt = wakeAt;
  if (wakeAt !== undefined) state.workloadTimers.add(wakeAt, workload);
}

function wakeOf(workload: Workload, now: number): number | undefined {
  const available = nextAvailableAt(workload, now);
  const moving = workload.rollout?.phase === 'progressing' && !isPaused(workload);
  const deadline = moving ? workload.progressAt + workload.spec.progressDeadlineMs : undefined;
  if (available === undefined || deadline === undefined) return available ?? deadline;
  return Math.min(available, deadline);
}

/** Progress is told at every tenth of what is wanted, so that a large rollout does not flood the log. */
const progressSteps = 10;

function planRollout(workload: Workload, plan: Plan, updated: number, changing: boolean): void {
  const { spec, rollout } = workload;
  const current = currentGroup(workload);
  let [total, ready] = [0, 0];
  for (const group of workload.groups.values()) {
    total += sizeOf(group);
    ready += group.ready.size;
  }
  const counts = { updated, ready };
  if (rollout?.revision !== spec.revision) {
    plan.rollout(workload, 'progressing', counts);
    return;
  }
  if (rollout.phase === 'complete') return;
  // a ReplicaSet keeps the number, not the revision
  const counted = spec.kind === 'ReplicaSet' ? [...workload.groups.values()] : [current];
  const available = counted.reduce((sum, group) => sum + availableIn(group, plan.now), 0);
  const there = total === spec.replicas && available === spec.replicas;
  if (there && !changing) {
    plan.rollout(workload, 'complete', counts);
    return;
  }
  if (rollout.phase === 'stalled') {
    if (workload.progressAt > rollout.at) plan.rollout(workload, 'progressing', counts);
    return;
  }
  if (!isPaused(workload) && plan.now >= workload.progressAt + spec.progressDeadlineMs) {
    const seconds = spec.progressDeadlineMs / 1000;
    const message = `no progress for ${seconds} s: ${available} of ${spec.replicas} instances of revision ${spec.revision} are available`;
    plan.rollout(workload, 'stalled', counts, message);
    return;
  }
  const step = Math.max(1, Math.ceil(spec.replicas / progressSteps));
  const moved = Math.max(updated - rollout.updated, Math.min(ready, spec.replicas) - rollout.ready);
  if (moved >= step) plan.rollout(workload, 'progressing', counts);
}

function reconcileServices(state: State, plan: Plan): NewEvent[] {
  for (const service of state.serviceTimers.due(plan.now, Number.POSITIVE_INFINITY)) state.dirtyServices.add(service);
  const todo = new Set<Service>(state.dirtyServices);
  for (const instance of plan.withdrawn) for (const service of instance.group.services) todo.add(service);
  const events: NewEvent[] = [];
  for (const service of todo) {
    const change = planEndpoints(service, plan.withdrawn, plan.now);
    if (change && !('wait' in change)) {
      events.push(change);
      continue;
    }
    state.dirtyServices.delete(service);
    const wakeAt = change?.wait;
    if (service.wakeAt === wakeAt) continue;
    service.wakeAt = wakeAt;
    if (wakeAt !== undefined) state.serviceTimers.add(wakeAt, service);
  }
  return events;
}
