import type { KernelStatus } from '@cloudos/sdk';
import type { ResourceManager } from './resource-manager.ts';
import { mebibytes, vCores } from './units.ts';

/** The release whose documents these follow: "ResourceManager REST API's" of Apache Hadoop. */
export const hadoopVersion = '3.4.1';

/** `Cluster Information API`. */
export function clusterInfo(manager: ResourceManager, status: KernelStatus) {
  const build = `cloudos ${status.version}`;
  return {
    clusterInfo: {
      id: manager.startedAt,
      startedOn: status.startedAt,
      state: 'STARTED',
      haState: 'ACTIVE',
      rmStateStoreName: 'event log',
      resourceManagerVersion: hadoopVersion,
      resourceManagerBuildVersion: build,
      resourceManagerVersionBuiltOn: '',
      hadoopVersion,
      hadoopBuildVersion: build,
      hadoopVersionBuiltOn: '',
      haZooKeeperConnectionState: 'ResourceManager HA is not enabled.',
    },
  };
}

/** `Cluster Metrics API`. */
export function clusterMetrics(manager: ResourceManager) {
  const { state, applications, completed } = manager;
  const { nodes, instances } = state.cluster;
  const running = [...applications.values()].filter(({ application }) => (application?.placed ?? 0) > 0).length;
  const live = state.applications.size;
  let [placed, pending] = [0, 0];
  for (const { phase } of instances.values()) phase === 'pending' ? pending++ : placed++;
  const [totalCpu, totalMemory] = sums(state.partitions.totals);
  const [usedCpu, usedMemory] = sums(state.tree.root.used);
  let [reservedCpu, reservedMemory] = [0, 0];
  for (const { shape } of state.reservations.keys()) {
    reservedCpu += shape.cpu;
    reservedMemory += shape.memory;
  }
  const count = (test: (facts: (typeof nodes.facts)[number]) => boolean) => nodes.facts.filter(test).length;
  return {
    clusterMetrics: {
      appsSubmitted: state.submitted,
      appsCompleted: completed,
      appsPending: live - running,
      appsRunning: running,
      appsFailed: 0,
      appsKilled: 0,
      reservedMB: mebibytes(reservedMemory),
      availableMB: mebibytes(Math.max(0, totalMemory - usedMemory)),
      allocatedMB: mebibytes(usedMemory - reservedMemory),
      totalMB: mebibytes(totalMemory),
      reservedVirtualCores: vCores(reservedCpu),
      availableVirtualCores: vCores(Math.max(0, totalCpu - usedCpu)),
      allocatedVirtualCores: vCores(usedCpu - reservedCpu),
      totalVirtualCores: vCores(totalCpu),
      containersAllocated: placed,
      containersReserved: state.reservations.size,
      containersPending: pending,
      totalNodes: count(({ state: is }) => is !== 'left'),
      activeNodes: count(({ state: is, cordoned }) => is === 'ready' && !cordoned),
      lostNodes: count(({ state: is }) => is === 'lost'),
      unhealthyNodes: 0,
      decommissioningNodes: count(({ state: is, draining, drained }) => is === 'ready' && draining && !drained),
      decommissionedNodes: count(
        ({ state: is, cordoned, draining, drained }) => is === 'ready' && cordoned && (drained || !draining),
      ),
      rebootedNodes: 0,
      shutdownNodes: count(({ state: is }) => is === 'left'),
    },
  };
}

/** Over all partitions. */
export function sums(amounts: Float64Array): [cpu: number, memory: number] {
  let [cpu, memory] = [0, 0];
  for (let at = 0; at < amounts.length; at += 2) {
    cpu += amounts[at]!;
    memory += amounts[at + 1]!;
  }
  return [cpu, memory];
}
