import type { EventData, SharedEvent } from '@cloudos/sdk';
import { collectEndpoints } from './endpoints.ts';
import {
  onExited,
  onFailed,
  onHealthy,
  onNodeGone,
  onPlaced,
  onPreempted,
  onRemoved,
  onRequested,
  onRestartOrdered,
  onStarted,
  onUnhealthy,
  onWithdrawn,
  pruneGroups,
} from './lifecycle.ts';
import type { KubernetesOptions } from './options.ts';
import { addTo, groupOf, newWorkload, removeFrom, type Service, type State } from './state.ts';
import { namespaceOf } from './tags.ts';

/** Takes one event into the state, in place. The cost does not depend on how many instances there are. */
export function evolve(state: State, of: SharedEvent, { restartBackoffMs }: KubernetesOptions): State {
  switch (of.type) {
    case 'WorkloadDeclared':
    case 'WorkloadChanged':
      onSpec(state, of.data, of.position, of.time);
      break;
    case 'WorkloadRemoved':
      onWorkloadRemoved(state, of.data.workload);
      break;
    case 'ServiceDeclared':
      onService(state, of.data);
      break;
    case 'ServiceRemoved':
      onServiceRemoved(state, of.data.service);
      break;
    case 'ServiceEndpointsChanged':
      onEndpoints(state, of.data, of.time);
      break;
    case 'RolloutAdvanced':
      onRollout(state, of.data, of.time);
      break;
    case 'InstanceRequested':
      onRequested(state, of);
      break;
    case 'InstanceWithdrawn':
      onWithdrawn(state, of);
      break;
    case 'InstancePreempted':
      onPreempted(state, of);
      break;
    case 'InstancePlaced':
      onPlaced(state, of);
      break;
    case 'InstanceRestartOrdered':
      onRestartOrdered(state, of);
      break;
    case 'GuestStarted':
      onStarted(state, of);
      break;
    case 'GuestHealthy':
      onHealthy(state, of);
      break;
    case 'GuestUnhealthy':
      onUnhealthy(state, of, restartBackoffMs);
      break;
    case 'GuestExited':
      onExited(state, of, restartBackoffMs);
      break;
    case 'GuestFailed':
      onFailed(state, of, restartBackoffMs);
      break;
    case 'GuestRemoved':
      onRemoved(state, of);
      break;
    case 'NodeLost':
    case 'NodeLeft':
      onNodeGone(state, of.data.node);
      break;
  }
  return state;
}

function onSpec(state: State, spec: EventData<'WorkloadDeclared'>, position: number, time: number): void {
  let workload = state.workloads.get(spec.workload);
  if (!workload) {
    workload = newWorkload(spec, position, time);
    state.workloads.set(spec.workload, workload);
    addTo(state.workloadsOf, namespaceOf(spec.workload), workload);
  }
  if (workload.spec.revision !== spec.revision) {
    workload.updatedPeak = 0;
    workload.readyPeak = 0;
    for (const group of workload.groups.values()) group.finished = 0;
  }
  workload.spec = spec;
  workload.progressAt = time;
  groupOf(state, workload, spec.revision, spec);
  pruneGroups(workload);
  state.dirtyWorkloads.add(workload);
}

function onWorkloadRemoved(state: State, name: string): void {
  const workload = state.workloads.get(name);
  if (!workload) return;
  state.workloads.delete(name);
  workload.removed = true;
  const left =
    workload.doomed.size > 0 ||
    [...workload.groups.values()].some((g) => g.unready.size + g.ready.size + g.done.size > 0);
  // its instances stay behind their services until they are withdrawn
  removeFrom(state.workloadsOf, namespaceOf(name), workload);
  if (!left) return;
  state.removed.add(workload);
  state.dirtyWorkloads.add(workload);
}

function onService(state: State, spec: EventData<'ServiceDeclared'>): void {
  let service = state.services.get(spec.service);
  if (!service) {
    const namespace = namespaceOf(spec.service);
    service = { spec, namespace, ready: new Map(), published: [], changedAt: 0, wakeAt: undefined };
    state.services.set(spec.service, service);
    addTo(state.servicesOf, namespace, service);
  }
  service.spec = spec;
  collectEndpoints(state, service);
}

function onServiceRemoved(state: State, name: string): void {
  const service = state.services.get(name);
  if (!service) return;
  state.services.delete(name);
  state.dirtyServices.delete(service);
  removeFrom(state.servicesOf, service.namespace, service);
  service.wakeAt = undefined;
  for (const group of groupsBehind(state, service))
    group.services = group.services.filter((other) => other !== service);
}

function* groupsBehind(state: State, service: Service) {
  for (const workload of state.workloadsOf.get(service.namespace) ?? []) yield* workload.groups.values();
  for (const workload of state.removed) yield* workload.groups.values();
}

function onEndpoints(state: State, { service: name, endpoints }: EventData<'ServiceEndpointsChanged'>, time: number) {
  const service = state.services.get(name);
  if (!service) return;
  service.published = endpoints;
  service.changedAt = time;
  state.dirtyServices.add(service);
}

function onRollout(state: State, data: EventData<'RolloutAdvanced'>, time: number): void {
  const workload = state.workloads.get(data.workload);
  if (!workload) return;
  workload.rollout = { ...data, at: time };
  state.dirtyWorkloads.add(workload);
}
