import type {
  Endpoint,
  EventData,
  GuestAddress,
  GuestLimits,
  GuestTemplate,
  ResourceVector,
  ServiceSpec,
  SharedEvent,
  WorkloadSpec,
} from '@cloudos/sdk';
import { tellsReadiness } from '@cloudos/sdk';
import { same } from '../node/same.ts';
import { type ContainerRecord, withContainer } from './container-record.ts';

/** What the log says of a node. */
export interface NodeRecord {
  node: string;
  state: 'ready' | 'lost' | 'left';
  cordoned: boolean;
  capacity: ResourceVector;
  attributes: Readonly<Record<string, string>>;
  runtimes: EventData<'NodeJoined'>['runtimes'];
  used: { cpuMillis: number; memoryBytes: number; diskBytes: number; pids: number };
  /** Instances placed here whose guests are not removed yet. */
  instances: Set<string>;
}

/** What the log says of a workload. */
export interface WorkloadRecord {
  spec: WorkloadSpec;
  revisions: { revision: number; position: number; time: number }[];
  templates: Map<number, GuestTemplate>;
  instances: Set<string>;
  rollout: 'none' | 'progressing' | 'complete' | 'stalled';
  message: string | undefined;
}

/** What the guest of an instance has come to, as its node recorded it. */
export type GuestPhase = 'none' | 'created' | 'running' | 'exited' | 'failed';

/** What the log says of an instance, from the request until its guest is removed. */
export interface InstanceRecord {
  instance: string;
  workload: string;
  revision: number;
  /** Absent when the workload at that revision was never declared. */
  template: GuestTemplate | undefined;
  requests: ResourceVector;
  priority: number;
  runtime: string | undefined;
  node: string | undefined;
  /** `stop`: it was withdrawn or preempted, or its node was lost. */
  wanted: 'run' | 'stop';
  /** The run that is wanted: 1, or what the last InstanceRestartOrdered says. */
  attemptWanted: number;
  /** Limits that its guest shall take in place, as long as its node has not told of it. */
  resize?: GuestLimits;
  drainMs: number;
  graceMs: number;
  guest: GuestPhase;
  attempt: number;
  ready: boolean;
  /** The startup probe of this run has succeeded. */
  startedUp: boolean;
  handle: unknown;
  address: GuestAddress | undefined;
  pid: number | undefined;
  exit: EventData<'GuestExited'> | undefined;
  /** Those beside the first that have ended in this run, by name. Replaced, never changed. */
  containers?: Readonly<Record<string, ContainerRecord>>;
  unplaceable: boolean;
  reason: string | undefined;
  requestedAt: number;
  requestedTime: number;
  changedAt: number;
  changedTime: number;
}

export interface ServiceRecord {
  spec: ServiceSpec;
  endpoints: readonly Endpoint[];
}

/** The cluster as the shared events describe it up to a position. Changed in place by {@link evolveCluster} alone. */
export interface ClusterState {
  position: number;
  time: number;
  nodes: Map<string, NodeRecord>;
  workloads: Map<string, WorkloadRecord>;
  instances: Map<string, InstanceRecord>;
  services: Map<string, ServiceRecord>;
}

export function emptyCluster(): ClusterState {
  return { position: -1, time: 0, nodes: new Map(), workloads: new Map(), instances: new Map(), services: new Map() };
}

/** Applies one event. Unknown types change nothing but the position. */
export function evolveCluster(state: ClusterState, event: SharedEvent): void {
  state.position = event.position;
  state.time = event.time;
  switch (event.type) {
    case 'NodeJoined':
    case 'NodeCapacityChanged':
      return nodeOffers(state, event.data);
    case 'NodeLost':
      return nodeGone(state, event, 'lost');
    case 'NodeLeft':
      return nodeGone(state, event, 'left');
    case 'NodeCordoned':
    case 'NodeUncordoned': {
      const node = state.nodes.get(event.data.node);
      if (node) node.cordoned = event.type === 'NodeCordoned';
      return;
    }
    case 'WorkloadDeclared':
    case 'WorkloadChanged':
      return workloadIs(state, event);
    case 'WorkloadRemoved':
      state.workloads.delete(event.data.workload);
      return;
    case 'RolloutAdvanced': {
      const workload = state.workloads.get(event.data.workload);
      if (!workload) return;
      workload.rollout = event.data.phase;
      workload.message = event.data.message;
      return;
    }
    case 'ServiceDeclared': {
      const known = state.services.get(event.data.service);
      state.services.set(event.data.service, { spec: event.data, endpoints: known?.endpoints ?? [] });
      return;
    }
    case 'ServiceRemoved':
      state.services.delete(event.data.service);
      return;
    case 'ServiceEndpointsChanged': {
      const service = state.services.get(event.data.service);
      if (service) service.endpoints = event.data.endpoints;
      return;
    }
    case 'InstanceRequested':
      return requested(state, event);
    default:
      return evolveInstance(state, event);
  }
}

type Of<Type extends SharedEvent['type']> = Extract<SharedEvent, { type: Type }>;

function nodeOffers(state: ClusterState, data: EventData<'NodeJoined'> | EventData<'NodeCapacityChanged'>): void {
  const known = state.nodes.get(data.node);
  if (known) {
    known.state = 'ready';
    known.capacity = data.capacity;
    known.runtimes = data.runtimes;
    if ('attributes' in data) known.attributes = data.attributes;
    return;
  }
  state.nodes.set(data.node, {
    node: data.node,
    state: 'ready',
    cordoned: false,
    capacity: data.capacity,
    attributes: 'attributes' in data ? data.attributes : {},
    runtimes: data.runtimes,
    used: { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 },
    instances: new Set(),
  });
}

function nodeGone(state: ClusterState, event: Of<'NodeLost'> | Of<'NodeLeft'>, how: 'lost' | 'left'): void {
  const node = state.nodes.get(event.data.node);
  if (!node) return;
  node.state = how;
  for (const name of [...node.instances]) {
    const instance = state.instances.get(name);
    if (!instance) continue;
    if (how === 'left') {
      forget(state, instance); // a node leaves when nothing is on it any more
      continue;
    }
    instance.wanted = 'stop';
    instance.ready = false;
    instance.reason = `node ${how}: ${event.data.reason}`;
    touch(instance, event);
  }
}

function workloadIs(state: ClusterState, event: Of<'WorkloadDeclared'> | Of<'WorkloadChanged'>): void {
  const spec = event.data;
  const known = state.workloads.get(spec.workload);
  const record: WorkloadRecord = known ?? {
    spec,
    revisions: [],
    templates: new Map(),
    instances: new Set(),
    rollout: 'none',
    message: undefined,
  };
  record.spec = spec;
  resizeInstances(state, record, event);
  if (!record.templates.has(spec.revision)) {
    record.revisions.push({ revision: spec.revision, position: event.position, time: event.time });
    if (record.revisions.length > revisionsKept) {
      const dropped = record.revisions.shift();
      if (dropped) record.templates.delete(dropped.revision);
    }
  }
  record.templates.set(spec.revision, spec.template);
  if (!known) state.workloads.set(spec.workload, record);
}

/** A specification of the revision that is there already, with other limits: for the guests of that revision. */
function resizeInstances(
  state: ClusterState,
  { templates, spec, instances }: WorkloadRecord,
  event: Of<'WorkloadDeclared'> | Of<'WorkloadChanged'>,
): void {
  const before = templates.get(spec.revision);
  if (!before || sameLimits(before, spec.template)) return;
  for (const name of instances) {
    const instance = state.instances.get(name);
    if (instance?.revision !== spec.revision || instance.template === undefined) continue;
    const { limits, options } = spec.template;
    instance.template = { ...instance.template, limits, options };
    // One that is placed may be in the making, with the limits of before.
    if (instance.node !== undefined) instance.resize = options === undefined ? { limits } : { limits, options };
    touch(instance, event);
  }
}

export function sameLimits(one: GuestLimits, other: GuestLimits): boolean {
  return same([one.limits, one.options ?? null], [other.limits, other.options ?? null]);
}

/** Revisions of a workload that a view remembers. */
const revisionsKept = 64;

function requested(state: ClusterState, event: Of<'InstanceRequested'>): void {
  const { data } = event;
  const workload = state.workloads.get(data.workload);
  const template = workload?.templates.get(data.revision);
  workload?.instances.add(data.instance);
  state.instances.set(data.instance, {
    instance: data.instance,
    workload: data.workload,
    revision: data.revision,
    template,
    requests: data.requests,
    priority: data.priority,
    runtime: data.runtime ?? template?.runtime,
    node: undefined,
    wanted: 'run',
    attemptWanted: 1,
    drainMs: 0,
    graceMs: template?.stopGraceMs ?? 0,
    guest: 'none',
    attempt: 0,
    ready: false,
    startedUp: false,
    handle: undefined,
    address: undefined,
    pid: undefined,
    exit: undefined,
    unplaceable: false,
    reason: undefined,
    requestedAt: event.position,
    requestedTime: event.time,
    changedAt: event.position,
    changedTime: event.time,
  });
}

function evolveInstance(state: ClusterState, event: SharedEvent): void {
  const name = (event.data as { instance?: unknown } | undefined)?.instance;
  const instance = typeof name === 'string' ? state.instances.get(name) : undefined;
  if (!instance) return;
  switch (event.type) {
    case 'InstancePlaced':
      return placed(state, instance, event);
    case 'InstanceUnplaceable':
      instance.unplaceable = true;
      instance.reason = event.data.reasons.map((reason) => reason.message).join('; ');
      break;
    case 'InstanceRestartOrdered':
      instance.attemptWanted = Math.max(instance.attemptWanted, event.data.attempt);
      break;
    case 'InstanceWithdrawn':
      instance.wanted = 'stop';
      instance.ready = false;
      instance.drainMs = event.data.drainMs;
      instance.graceMs = event.data.graceMs;
      instance.reason = event.data.reason;
      if (instance.node === undefined) return forget(state, instance);
      break;
    case 'InstancePreempted':
      instance.wanted = 'stop';
      instance.ready = false;
      instance.drainMs = 0;
      instance.graceMs = event.data.graceMs;
      instance.reason = event.data.reason;
      break;
    default:
      if (!evolveGuest(state, instance, event)) return;
  }
  touch(instance, event);
}

function placed(state: ClusterState, instance: InstanceRecord, event: Of<'InstancePlaced'>): void {
  instance.node = event.data.node;
  instance.unplaceable = false;
  instance.reason = undefined;
  touch(instance, event);
  const node = state.nodes.get(event.data.node);
  if (!node) return;
  node.instances.add(instance.instance);
  account(node, instance.requests, 1);
}

/** Applies what the node agent recorded. False when it says nothing about this instance on its node. */
function evolveGuest(state: ClusterState, instance: InstanceRecord, event: SharedEvent): boolean {
  if ((event.data as { node?: unknown }).node !== instance.node) return false;
  switch (event.type) {
    case 'GuestCreated':
      instance.guest = 'created';
      instance.runtime = event.data.runtime;
      instance.handle = event.data.handle;
      return true;
    case 'GuestStarted':
      instance.guest = 'running';
      instance.runtime = event.data.runtime;
      instance.attempt = event.data.attempt;
      instance.address = event.data.address as GuestAddress | undefined;
      instance.pid = event.data.pid;
      instance.exit = undefined;
      delete instance.containers;
      instance.startedUp = false;
      instance.reason = undefined;
      instance.ready = instance.wanted === 'run' && !(instance.template && tellsReadiness(instance.template));
      return true;
    case 'GuestHealthy':
      if (event.data.probe === 'readiness') instance.ready = instance.wanted === 'run';
      if (event.data.probe === 'startup') instance.startedUp = true;
      return true;
    case 'GuestUnhealthy':
      if (event.data.probe === 'readiness') instance.ready = false;
      instance.reason = event.data.reason;
      return true;
    case 'GuestContainerExited':
    case 'GuestContainerStarted':
      if (event.data.attempt === instance.attempt) instance.containers = withContainer(instance.containers, event);
      return event.data.attempt === instance.attempt;
    case 'GuestExited':
      instance.guest = 'exited';
      instance.exit = event.data;
      instance.ready = false;
      instance.pid = undefined;
      return true;
    case 'GuestFailed':
      instance.guest = 'failed';
      instance.attempt = event.data.attempt;
      instance.ready = false;
      instance.reason = `${event.data.stage}: ${event.data.reason}`;
      return true;
    case 'GuestResized':
    case 'GuestResizeFailed':
      if (instance.resize && sameLimits(instance.resize, event.data)) delete instance.resize;
      instance.reason = event.type === 'GuestResizeFailed' ? `resize: ${event.data.reason}` : undefined;
      return true;
    case 'GuestRemoved':
      forget(state, instance);
      return false;
    default:
      return false;
  }
}

function forget(state: ClusterState, instance: InstanceRecord): void {
  state.instances.delete(instance.instance);
  state.workloads.get(instance.workload)?.instances.delete(instance.instance);
  const node = instance.node === undefined ? undefined : state.nodes.get(instance.node);
  if (node?.instances.delete(instance.instance)) account(node, instance.requests, -1);
}

function account(node: NodeRecord, requests: ResourceVector, sign: 1 | -1): void {
  node.used.cpuMillis += sign * requests.cpuMillis;
  node.used.memoryBytes += sign * requests.memoryBytes;
  node.used.diskBytes += sign * requests.diskBytes;
  node.used.pids += sign * requests.pids;
}

function touch(instance: InstanceRecord, event: SharedEvent): void {
  instance.changedAt = event.position;
  instance.changedTime = event.time;
}
