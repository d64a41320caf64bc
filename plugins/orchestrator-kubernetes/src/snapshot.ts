import type { Endpoint, PolicySnapshot, ServiceSpec, WorkloadSpec } from '@cloudos/sdk';
import { collectEndpoints } from './endpoints.ts';
import { newInstance } from './lifecycle.ts';
import {
  addTo,
  type Group,
  groupOf,
  type Instance,
  linkGroup,
  newWorkload,
  type RevisionPart,
  State,
  type Workload,
} from './state.ts';
import { namespaceOf } from './tags.ts';

/** Everything of an instance but its group and its place in it. */
type SavedInstance = Omit<Instance, 'group'>;

interface SavedGroup {
  revision: number;
  part: RevisionPart;
  finished: number;
  unready: SavedInstance[];
  ready: SavedInstance[];
  done: SavedInstance[];
}

interface SavedWorkload {
  spec: WorkloadSpec;
  declaredAt: number;
  requested: number;
  removed: boolean;
  rollout: Workload['rollout'];
  progressAt: number;
  updatedPeak: number;
  readyPeak: number;
  groups: SavedGroup[];
  /** In the order in which they were lost or condemned; the condemned are among `done` as well. */
  doomed: { revision: number; instance: SavedInstance }[];
  leaving: { instance: string; revision: number; node: string }[];
}

interface Saved {
  workloads: SavedWorkload[];
  services: { spec: ServiceSpec; published: readonly Endpoint[]; changedAt: number }[];
  usedNames: string[];
}

export const kubernetesSnapshot: PolicySnapshot<State> = {
  version: 1,
  save: (state) => structuredClone(saved(state)),
  load: (from) => loaded(structuredClone(from) as Saved),
};

function saved(state: State): Saved {
  return {
    workloads: [...state.workloads.values(), ...state.removed].map((workload) => saveWorkload(state, workload)),
    services: [...state.services.values()].map(({ spec, published, changedAt }) => ({ spec, published, changedAt })),
    usedNames: [...state.usedNames],
  };
}

function saveWorkload(state: State, workload: Workload): SavedWorkload {
  const { spec, declaredAt, requested, removed, rollout, progressAt, updatedPeak, readyPeak } = workload;
  return {
    ...{ spec, declaredAt, requested, removed, rollout, progressAt, updatedPeak, readyPeak },
    groups: [...workload.groups.values()].map((group) => ({
      revision: group.revision,
      part: group.part,
      finished: group.finished,
      unready: [...group.unready].map(saveInstance),
      ready: [...group.ready].map(saveInstance),
      done: [...group.done].map(saveInstance),
    })),
    doomed: [...workload.doomed].map((instance) => ({
      revision: instance.group.revision,
      instance: saveInstance(instance),
    })),
    leaving: [...workload.leaving].map(([instance, revision]) => ({
      instance,
      revision,
      node: state.leaving.get(instance)?.node ?? '',
    })),
  };
}

function saveInstance({ group: _, ...rest }: Instance): SavedInstance {
  return rest;
}

function loaded(from: Saved): State {
  const state = new State();
  for (const saved of from.workloads) loadWorkload(state, saved);
  for (const { spec, published, changedAt } of from.services) {
    const namespace = namespaceOf(spec.service);
    const service = { spec, namespace, ready: new Map(), published, changedAt, wakeAt: undefined };
    state.services.set(spec.service, service);
    addTo(state.servicesOf, namespace, service);
    collectEndpoints(state, service);
  }
  for (const workload of state.removed) for (const group of workload.groups.values()) linkGroup(state, group);
  for (const name of from.usedNames) state.usedNames.add(name);
  return state;
}

function loadWorkload(state: State, from: SavedWorkload): void {
  const workload = newWorkload(from.spec, from.declaredAt, from.progressAt);
  const { requested, removed, rollout, updatedPeak, readyPeak } = from;
  Object.assign(workload, { requested, removed, rollout, updatedPeak, readyPeak });
  if (removed) state.removed.add(workload);
  else {
    state.workloads.set(from.spec.workload, workload);
    addTo(state.workloadsOf, namespaceOf(from.spec.workload), workload);
  }
  for (const saved of from.groups) {
    const group = groupOf(state, workload, saved.revision, saved.part);
    group.finished = saved.finished;
    for (const set of ['unready', 'ready', 'done'] as const) {
      for (const instance of saved[set]) group[set].add(loadInstance(state, group, instance));
    }
  }
  for (const { revision, instance } of from.doomed) {
    const group = groupOf(state, workload, revision, from.spec);
    workload.doomed.add(state.instances.get(instance.id) ?? loadInstance(state, group, instance));
  }
  for (const { instance, revision, node } of from.leaving) {
    workload.leaving.set(instance, revision);
    state.leaving.set(instance, { workload, node });
  }
  state.dirtyWorkloads.add(workload);
}

function loadInstance(state: State, group: Group, saved: SavedInstance): Instance {
  const instance = Object.assign(newInstance(saved.id, group), saved);
  state.instances.set(instance.id, instance);
  if (instance.node !== undefined) addTo(state.byNode, instance.node, instance);
  if (instance.dueAt !== undefined) state.restarts.add(instance.dueAt, instance);
  return instance;
}
