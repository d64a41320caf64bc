import type { GuestTemplate } from '@cloudos/sdk';
import {
  type ClusterState,
  emptyCluster,
  type InstanceRecord,
  type NodeRecord,
  type WorkloadRecord,
} from './cluster-state.ts';

/** Changes when the saved shape does. */
export const clusterSnapshotVersion = 2;

interface SavedCluster {
  position: number;
  time: number;
  nodes: (Omit<NodeRecord, 'instances'> & { instances: string[] })[];
  workloads: (Omit<WorkloadRecord, 'instances' | 'templates'> & { templates: [number, GuestTemplate][] })[];
  instances: InstanceRecord[];
  services: [string, unknown][];
}

/** Plain data, detached from the state. */
export function saveCluster(state: ClusterState): unknown {
  const saved: SavedCluster = {
    position: state.position,
    time: state.time,
    nodes: [...state.nodes.values()].map((node) => ({
      ...node,
      used: { ...node.used },
      instances: [...node.instances],
    })),
    workloads: [...state.workloads.values()].map(({ instances: _, templates, revisions, ...workload }) => ({
      ...workload,
      revisions: [...revisions],
      templates: [...templates],
    })),
    instances: [...state.instances.values()].map((instance) => ({ ...instance })),
    services: [...state.services].map(([name, service]) => [name, { ...service }]),
  };
  return saved;
}

export function loadCluster(saved: unknown): ClusterState {
  const { position, time, nodes, workloads, instances, services } = saved as SavedCluster;
  const state = emptyCluster();
  state.position = position;
  state.time = time;
  for (const node of nodes) state.nodes.set(node.node, { ...node, instances: new Set(node.instances) });
  for (const workload of workloads) {
    state.workloads.set(workload.spec.workload, {
      ...workload,
      templates: new Map(workload.templates),
      instances: new Set(),
    });
  }
  for (const instance of instances) {
    state.instances.set(instance.instance, instance);
    state.workloads.get(instance.workload)?.instances.add(instance.instance);
  }
  for (const [name, service] of services) state.services.set(name, service as never);
  return state;
}
