import type { Endpoint, EventData, GuestTemplate, ServiceSpec, WorkloadSpec } from '@cloudos/sdk';
import { hashOf } from './hash.ts';
import { type RequestPart, requestPart } from './request.ts';
import { namespaceOf } from './tags.ts';
import { Timers } from './timers.ts';

/** What of a specification an update replaces instances for: the pod template in the terms of Kubernetes. */
export type RevisionPart = Pick<WorkloadSpec, 'template' | 'priority' | 'constraints' | (typeof optionalParts)[number]>;

const optionalParts = ['node', 'owner', 'user', 'tags', 'placement', 'hostPorts', 'reservation'] as const;

/**
 * `wanted` runs or shall run; `lost` is gone with its node and not yet withdrawn; `done` has ended and is not
 * restarted; `condemned` has failed for good and must be stopped.
 */
export type Fate = 'wanted' | 'lost' | 'done' | 'condemned';

export interface Instance {
  readonly id: string;
  readonly group: Group;
  node: string | undefined;
  /** The latest run that was ordered or seen; 0 before the first. */
  attempt: number;
  running: boolean;
  startedAt: number;
  address: EventData<'GuestStarted'>['address'];
  /** Verdict of the readiness probe, or of the startup probe where there is no other. */
  probed: boolean;
  /** False once the liveness probe of this run has failed. */
  alive: boolean;
  /** Its runtime holds it: it cannot go on for now. */
  held: boolean;
  ready: boolean;
  readySince: number;
  /** Restarts since it last ran for long. */
  crashes: number;
  /** When it shall be restarted, and why. */
  dueAt: number | undefined;
  dueReason: string;
  fate: Fate;
}

/** The instances of one revision: the ReplicaSet of Kubernetes. Sets are in the order of entry. */
export interface Group {
  readonly workload: Workload;
  readonly revision: number;
  readonly part: RevisionPart;
  readonly hash: string;
  readonly request: RequestPart;
  readonly unready: Set<Instance>;
  readonly ready: Set<Instance>;
  /** Ended for good, with something left of them. */
  readonly done: Set<Instance>;
  /** Ended for good, with nothing left. */
  finished: number;
  /** Services that select these instances. Derived. */
  services: Service[];
}

export interface Workload {
  spec: WorkloadSpec;
  /** Position of the declaration: tells declarations of one name apart. */
  readonly declaredAt: number;
  /** Instances requested so far; the ordinal of the next. */
  requested: number;
  removed: boolean;
  readonly groups: Map<number, Group>;
  /** To be withdrawn whatever else is decided: lost or condemned. */
  readonly doomed: Set<Instance>;
  /** Withdrawn or preempted, and perhaps still running: instance → revision. */
  readonly leaving: Map<string, number>;
  /** The last RolloutAdvanced, and when it was. */
  rollout: (EventData<'RolloutAdvanced'> & { readonly at: number }) | undefined;
  /** When the rollout last moved, and how far it has come. */
  progressAt: number;
  updatedPeak: number;
  readyPeak: number;
  /** Memo: nothing is to be decided before, unless something happens. Not part of what is saved. */
  wakeAt: number | undefined;
}

export interface Service {
  spec: ServiceSpec;
  readonly namespace: string;
  /** Ready instances behind it. Derived. */
  readonly ready: Map<string, Endpoint>;
  /** The last ServiceEndpointsChanged, and when it was. */
  published: readonly Endpoint[];
  changedAt: number;
  /** Memo, as in Workload. */
  wakeAt: number | undefined;
}

/**
 * What the log says about workloads, services and their instances, with the indexes that keep the cost of an event
 * independent of how many there are. `dirty…` and `…Timers` say what a reaction has to look at: a memo of what was
 * found settled, which changes no decision and is not saved.
 */
export class State {
  readonly workloads = new Map<string, Workload>();
  readonly services = new Map<string, Service>();
  /** Requested and neither withdrawn nor preempted. */
  readonly instances = new Map<string, Instance>();
  readonly byNode = new Map<string, Set<Instance>>();
  /** Instances that were stopped and may hold on to their node: instance → where, and whose. */
  readonly leaving = new Map<string, { readonly workload: Workload; readonly node: string }>();
  /** Removed workloads that have instances left. */
  readonly removed = new Set<Workload>();
  /** Instance ids without an ordinal, which only their memory keeps from being used again. */
  readonly usedNames = new Set<string>();
  readonly servicesOf = new Map<string, Set<Service>>();
  readonly workloadsOf = new Map<string, Set<Workload>>();

  readonly dirtyWorkloads = new Set<Workload>();
  readonly dirtyServices = new Set<Service>();
  readonly restarts = new Timers<Instance>((instance, time) => instance.dueAt === time && instance.fate === 'wanted');
  readonly workloadTimers = new Timers<Workload>((workload, time) => workload.wakeAt === time);
  readonly serviceTimers = new Timers<Service>((service, time) => service.wakeAt === time);
}

/** The name without its namespace. */
export function localName(name: string): string {
  return name.slice(name.indexOf('/') + 1);
}

export function partOf(spec: RevisionPart): RevisionPart {
  const { template, priority, constraints } = spec;
  const given = optionalParts.filter((name) => spec[name] !== undefined).map((name) => [name, spec[name]]);
  return { template, priority, constraints, ...Object.fromEntries(given) };
}

export function newWorkload(spec: WorkloadSpec, declaredAt: number, time: number): Workload {
  return {
    spec,
    declaredAt,
    requested: 0,
    removed: false,
    groups: new Map(),
    doomed: new Set(),
    leaving: new Map(),
    rollout: undefined,
    progressAt: time,
    updatedPeak: 0,
    readyPeak: 0,
    wakeAt: undefined,
  };
}

/** The group of that revision; made from the part where it is new. */
export function groupOf(state: State, workload: Workload, revision: number, part: RevisionPart): Group {
  const known = workload.groups.get(revision);
  if (known) return known;
  const group: Group = {
    workload,
    revision,
    part: partOf(part),
    request: requestPart(workload.spec.workload, revision, part),
    hash: hashOf([workload.spec.workload, workload.declaredAt, revision, part.template]),
    unready: new Set(),
    ready: new Set(),
    done: new Set(),
    finished: 0,
    services: [],
  };
  workload.groups.set(revision, group);
  linkGroup(state, group);
  return group;
}

/** The group of the revision that is wanted. */
export function currentGroup(workload: Workload): Group {
  return workload.groups.get(workload.spec.revision) as Group;
}

/** Instances that count: requested and not gone, those that ended for good included. */
export function sizeOf(group: Group): number {
  return group.unready.size + group.ready.size + group.done.size + group.finished;
}

export function linkGroup(state: State, group: Group): void {
  const candidates = state.servicesOf.get(namespaceOf(group.workload.spec.workload)) ?? [];
  group.services = [...candidates].filter((service) => selects(service.spec.selector, group.part.template));
}

/** A service without a selector selects nothing, as in Kubernetes. */
export function selects(selector: Readonly<Record<string, string>>, template: GuestTemplate): boolean {
  const wanted = Object.entries(selector);
  return wanted.length > 0 && wanted.every(([name, value]) => template.labels[name] === value);
}

export function addTo<Key, Value>(index: Map<Key, Set<Value>>, key: Key, value: Value): void {
  const set = index.get(key);
  if (set) set.add(value);
  else index.set(key, new Set([value]));
}

export function removeFrom<Key, Value>(index: Map<Key, Set<Value>>, key: Key, value: Value): void {
  const set = index.get(key);
  if (set?.delete(value) && set.size === 0) index.delete(key);
}
