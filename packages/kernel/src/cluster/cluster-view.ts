import type { ClusterView, InstanceState, InstanceView, NodeView, ServiceView, WorkloadView } from '@cloudos/sdk';
import type { ClusterState, InstanceRecord, NodeRecord, ServiceRecord, WorkloadRecord } from './cluster-state.ts';
import type { ContainerRecord } from './container-record.ts';

/** The state as plain data for people and programs, in the order of names. */
export function viewOf(state: ClusterState): ClusterView {
  return {
    position: state.position,
    time: state.time,
    nodes: sorted(state.nodes).map(nodeView),
    workloads: sorted(state.workloads).map((workload) => workloadView(workload, state)),
    instances: sorted(state.instances).map(instanceView),
    services: sorted(state.services).map(serviceView),
  };
}

function sorted<T>(records: Map<string, T>): T[] {
  return [...records.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
}

function nodeView(node: NodeRecord): NodeView {
  return {
    node: node.node,
    state: node.state === 'ready' && node.cordoned ? 'cordoned' : node.state,
    capacity: node.capacity,
    used: { ...node.used },
    instances: node.instances.size,
    attributes: node.attributes,
    runtimes: node.runtimes,
  };
}

function workloadView(workload: WorkloadRecord, state: ClusterState): WorkloadView {
  const instances = [...workload.instances]
    .map((name) => state.instances.get(name))
    .filter((instance): instance is InstanceRecord => instance?.wanted === 'run');
  return {
    spec: workload.spec,
    revisions: [...workload.revisions],
    instances: instances.length,
    ready: instances.filter((instance) => instance.ready).length,
    updated: instances.filter((instance) => instance.revision === workload.spec.revision).length,
    rollout: workload.rollout,
    ...(workload.message !== undefined && { message: workload.message }),
  };
}

/** Where the instance stands, in one word. */
export function instanceState(instance: InstanceRecord): InstanceState {
  if (instance.wanted === 'stop') return 'stopping';
  if (instance.node === undefined) return instance.unplaceable ? 'unplaceable' : 'pending';
  if (instance.guest === 'none') return 'placed';
  if (instance.guest === 'running') return instance.ready ? 'ready' : 'running';
  return instance.guest;
}

function instanceView(instance: InstanceRecord): InstanceView {
  const { exit } = instance;
  return {
    instance: instance.instance,
    workload: instance.workload,
    revision: instance.revision,
    state: instanceState(instance),
    requests: instance.requests,
    priority: instance.priority,
    ...(instance.node !== undefined && { node: instance.node }),
    ...(instance.runtime !== undefined && { runtime: instance.runtime }),
    attempt: instance.attempt,
    ...(instance.address && { address: instance.address }),
    ...(instance.pid !== undefined && { pid: instance.pid }),
    ...(exit && {
      exit: {
        attempt: exit.attempt,
        exitCode: exit.exitCode,
        signal: exit.signal,
        reason: exit.reason,
        ...(exit.message !== undefined && { message: exit.message }),
      },
    }),
    ...(instance.containers && { containers: containerViews(instance.containers) }),
    ...(instance.resize && { resizing: true as const }),
    ...(instance.reason !== undefined && { reason: instance.reason }),
    requestedAt: instance.requestedAt,
    changedAt: instance.changedAt,
    requestedTime: instance.requestedTime,
    changedTime: instance.changedTime,
  };
}

function containerViews(
  containers: Readonly<Record<string, ContainerRecord>>,
): NonNullable<InstanceView['containers']> {
  return Object.entries(containers)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { running, restarts, exit }]) => ({
      name,
      running,
      restarts,
      ...(exit && {
        exit: {
          exitCode: exit.exitCode,
          signal: exit.signal,
          reason: exit.reason,
          ...(exit.message !== undefined && { message: exit.message }),
        },
      }),
    }));
}

function serviceView(service: ServiceRecord): ServiceView {
  return { spec: service.spec, endpoints: service.endpoints };
}
