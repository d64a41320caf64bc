import type { PolicySnapshot, ResourceVector } from '@cloudos/sdk';
import { Cluster, type ClusterOptions } from './cluster.ts';
import type { Phase } from './instance-record.ts';
import type { NodeState } from './node-table.ts';
import type { Demand, Shape } from './shape.ts';

/** A cluster as plain data. Instances refer to workloads, shapes and nodes by index. */
interface SavedCluster {
  readonly version: number;
  readonly nodesChangedAt: number;
  readonly requested: number;
  readonly placements: number;
  readonly groups: readonly (readonly [key: string, signature: string, toldAt: number])[];
  readonly nodes: readonly {
    readonly id: string;
    readonly state: NodeState;
    readonly cordoned: boolean;
    readonly draining: boolean;
    readonly drained: boolean;
    readonly capacity: ResourceVector;
    readonly attributes: Readonly<Record<string, string>>;
    readonly runtimes: readonly string[];
  }[];
  readonly workloads: readonly { readonly name: string; readonly removed: boolean; readonly graceMs?: number }[];
  readonly shapes: readonly Demand[];
  readonly instances: readonly (readonly [
    id: string,
    order: number,
    workload: number,
    shape: number,
    priority: number,
    phase: Phase,
    slot: number,
    nominated: number,
    told: string,
  ])[];
}

/** Saves and loads the whole of a cluster. */
export function clusterSnapshot(options: ClusterOptions): PolicySnapshot<Cluster> {
  return {
    version: 1,
    save: (cluster) => structuredClone(save(cluster)),
    load: (saved) => load(saved as SavedCluster, options),
  };
}

function save(cluster: Cluster): SavedCluster {
  const shapes = new Map<Shape, number>();
  const workloads = new Map([...cluster.workloads.values()].map((workload, index) => [workload, index]));
  const instances = [...cluster.instances.values()].map((record) => {
    const shape = shapes.get(record.shape) ?? shapes.size;
    shapes.set(record.shape, shape);
    const { id, order, priority, phase, slot, nominated, told } = record;
    return [id, order, workloads.get(record.workload)!, shape, priority, phase, slot, nominated, told] as const;
  });
  return {
    version: cluster.version,
    nodesChangedAt: cluster.nodesChangedAt,
    requested: cluster.requested,
    placements: cluster.placements,
    groups: [...cluster.groups.values()].map(({ key, signature, toldAt }) => [key, signature, toldAt] as const),
    nodes: cluster.nodes.facts.map(({ id, state, cordoned, draining, drained, attributes, runtimes }, slot) => ({
      ...{ id, state, cordoned, draining, drained, attributes },
      capacity: cluster.nodes.capacityOf(slot),
      runtimes: [...runtimes],
    })),
    workloads: [...workloads.keys()].map(({ name, removed, graceMs }) => ({
      ...{ name, removed },
      ...(graceMs === undefined ? {} : { graceMs }),
    })),
    shapes: [...shapes.keys()].map(({ demand: { requests, runtime, constraints, node } }) => ({
      requests,
      ...(runtime === undefined ? {} : { runtime }),
      ...(constraints === undefined ? {} : { constraints }),
      ...(node === undefined ? {} : { node }),
    })),
    instances,
  };
}

function load(saved: SavedCluster, options: ClusterOptions): Cluster {
  const cluster = new Cluster(options);
  for (const { id, state, cordoned, draining, drained, capacity, attributes, runtimes } of saved.nodes) {
    const slot = cluster.nodes.ensure(id);
    Object.assign(cluster.nodes.facts[slot]!, { state, cordoned, draining, drained });
    cluster.nodes.describe(slot, capacity, runtimes, attributes);
    if (draining) cluster.draining.add(slot);
  }
  for (const { name, removed, graceMs } of saved.workloads) cluster.restoreWorkload(name, removed, graceMs);
  for (const [id, order, workload, shape, priority, phase, slot, nominated, told] of saved.instances) {
    const record = cluster.admit(id, saved.workloads[workload]!.name, saved.shapes[shape]!, priority, order);
    if (slot >= 0) {
      cluster.settle(record, slot);
      if (phase === 'leaving') cluster.leave(record);
    } else if (nominated >= 0) {
      cluster.nominate(record, nominated);
    } else {
      cluster.enqueue(record);
    }
    record.told = told;
  }
  for (const [key, signature, toldAt] of saved.groups) cluster.groups.get(key)?.restore(signature, toldAt);
  cluster.version = saved.version;
  cluster.nodesChangedAt = saved.nodesChangedAt;
  cluster.requested = saved.requested;
  cluster.placements = saved.placements;
  return cluster;
}
