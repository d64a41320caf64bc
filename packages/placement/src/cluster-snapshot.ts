import type { EventData, PolicySnapshot, ResourceVector } from '@cloudos/sdk';
import { type Alloc, allocId, type SavedAllocs, saveAllocs } from './alloc-sets.ts';
import { Cluster } from './cluster.ts';
import type { AdmittedRequest, ClusterOptions } from './cluster-options.ts';
import { noteImage } from './images.ts';
import type { Phase } from './instance-record.ts';
import { lend, reviewOverdraft } from './lending.ts';
import type { NodeFacts, NodeState } from './node-facts.ts';
import type { Profile } from './profile.ts';
import type { Demand, Shape } from './shape.ts';

/** A cluster as plain data. Instances refer to workloads, shapes and nodes by index. */
interface SavedCluster {
  readonly version: number;
  readonly factsChangedAt: number;
  readonly quotas: readonly EventData<'QuotaSet'>[];
  readonly stopped: readonly string[];
  readonly allocs: SavedAllocs;
  readonly requested: number;
  readonly placements: number;
  readonly groups: readonly (readonly [key: string, signature: string, toldAt: number])[];
  readonly nodes: readonly {
    readonly id: string;
    readonly state: NodeState;
    readonly cordoned: boolean;
    readonly draining: boolean;
    readonly drained: boolean;
    readonly maintenance?: NodeFacts['maintenance'];
    readonly images?: readonly string[];
    readonly capacity: ResourceVector;
    readonly attributes: Readonly<Record<string, string>>;
    readonly runtimes: readonly string[];
  }[];
  readonly workloads: readonly { readonly name: string; readonly removed: boolean; readonly graceMs?: number }[];
  readonly shapes: readonly Demand[];
  readonly profiles: readonly Profile['said'][];
  readonly instances: readonly (readonly [
    id: string,
    order: number,
    workload: number,
    shape: number,
    profile: number,
    priority: number,
    phase: Phase,
    slot: number,
    nominated: number,
    told: string,
    idleCpu: number,
    idleMemory: number,
  ])[];
}

/** Saves and loads the whole of a cluster. */
export function clusterSnapshot(options: ClusterOptions): PolicySnapshot<Cluster> {
  return {
    version: 2,
    save: (cluster) => structuredClone(save(cluster)),
    load: (saved) => load(saved as SavedCluster, options),
  };
}

function save(cluster: Cluster): SavedCluster {
  cluster.tentative.takeBack();
  const shapes = new Map<Shape, number>();
  const profiles = new Map<Profile, number>();
  const workloads = new Map([...cluster.workloads.values()].map((workload, index) => [workload, index]));
  const instances = [...cluster.instances.values()].map((record) => {
    const shape = shapes.get(record.shape) ?? shapes.size;
    shapes.set(record.shape, shape);
    const profile = profiles.get(record.kin.profile) ?? profiles.size;
    profiles.set(record.kin.profile, profile);
    const { id, order, priority, phase, slot, nominated, told, idleCpu, idleMemory } = record;
    const kind = [workloads.get(record.workload)!, shape, profile] as const;
    return [id, order, ...kind, priority, phase, slot, nominated, told, idleCpu, idleMemory] as const;
  });
  return {
    version: cluster.version,
    factsChangedAt: cluster.factsChangedAt,
    requested: cluster.requested,
    placements: cluster.placements,
    // by key: the order in which groups came to be is nothing that a state has to remember
    groups: [...cluster.groups.values()]
      .map(({ key, signature, toldAt }) => [key, signature, toldAt] as const)
      .sort(([one], [other]) => (one < other ? -1 : 1)),
    quotas: cluster.owners.quotas.map(({ said }) => said),
    stopped: cluster.owners.stopped,
    allocs: saveAllocs(cluster),
    nodes: cluster.nodes.facts.map(({ runtimes, maintenance, images, ...facts }, slot) => ({
      ...nodeState(facts),
      ...(maintenance && { maintenance }),
      ...(images && { images: [...images] }),
      capacity: cluster.nodes.capacityOf(slot),
      runtimes: [...runtimes],
    })),
    workloads: [...workloads.keys()].map(({ name, removed, graceMs }) => ({
      ...{ name, removed },
      ...(graceMs === undefined ? {} : { graceMs }),
    })),
    shapes: [...shapes.keys()].map(({ demand: { requests, runtime, constraints, node, hostPorts } }) => ({
      requests,
      ...(runtime === undefined ? {} : { runtime }),
      ...(constraints === undefined ? {} : { constraints }),
      ...(node === undefined ? {} : { node }),
      ...(hostPorts === undefined ? {} : { hostPorts }),
    })),
    profiles: [...profiles.keys()].map(({ said }) => said),
    instances,
  };
}

function nodeState({
  id,
  state,
  cordoned,
  draining,
  drained,
  attributes,
}: Omit<NodeFacts, 'runtimes' | 'maintenance' | 'images'>) {
  return { id, state, cordoned, draining, drained, attributes };
}

function load(saved: SavedCluster, options: ClusterOptions): Cluster {
  const cluster = new Cluster(options);
  for (const node of saved.nodes) {
    const { id, state, cordoned, draining, drained, capacity, attributes, runtimes, maintenance, images } = node;
    const slot = cluster.nodes.ensure(id);
    Object.assign(cluster.nodes.facts[slot]!, { state, cordoned, draining, drained });
    for (const image of images ?? []) noteImage(cluster, slot, image);
    if (maintenance) {
      cluster.nodes.facts[slot]!.maintenance = { ...maintenance };
      cluster.maintained.add(slot);
    }
    cluster.nodes.describe(slot, capacity, runtimes, attributes);
    if (draining && state !== 'left') cluster.draining.add(slot);
  }
  for (const { name, removed, graceMs } of saved.workloads) cluster.restoreWorkload(name, removed, graceMs);
  for (const quota of saved.quotas) cluster.owners.setQuota(quota, []);
  for (const owner of saved.stopped) cluster.owners.setState({ owner, state: 'stopped' });
  const inside = new Map(saved.allocs.inside);
  const parts = loadSets(cluster, saved.allocs);
  // parts first: those who run in them may have been asked for earlier
  for (const instance of saved.instances.toSorted((one, other) => +parts.has(other[0]) - +parts.has(one[0]))) {
    loadInstance(cluster, saved, instance, inside, parts);
  }
  for (const { spec, closing } of saved.allocs.sets) {
    for (const index of closing) cluster.allocs.sets.get(spec.reservation)!.allocs[index]!.closing = true;
  }
  for (let slot = 0; slot < cluster.nodes.count; slot++) reviewOverdraft(cluster, slot);
  for (const [key, signature, toldAt] of saved.groups) cluster.groups.get(key)?.restore(signature, toldAt);
  cluster.version = saved.version;
  cluster.factsChangedAt = saved.factsChangedAt;
  cluster.requested = saved.requested;
  cluster.placements = saved.placements;
  return cluster;
}

/** Names of the records that stand for parts of reservations, and whose parts they are. */
function loadSets({ allocs }: Cluster, { sets }: SavedAllocs): Map<string, Pick<Alloc, 'set' | 'index'>> {
  const parts = new Map<string, Pick<Alloc, 'set' | 'index'>>();
  for (const { spec, withdrawn } of sets) {
    const set = { spec, allocs: [], withdrawn };
    allocs.sets.set(spec.reservation, set);
    for (let index = 0; index < spec.count; index++) parts.set(allocId(spec.reservation, index), { set, index });
  }
  return parts;
}

function loadInstance(
  cluster: Cluster,
  saved: SavedCluster,
  instance: SavedCluster['instances'][number],
  inside: ReadonlyMap<string, number>,
  parts: ReadonlyMap<string, Pick<Alloc, 'set' | 'index'>>,
): void {
  const [id, order, workload, shape, profile, priority, phase, slot, nominated, told, idleCpu, idleMemory] = instance;
  const demand: Demand = saved.shapes[shape]!;
  const request = { workload: saved.workloads[workload]!.name, priority, ...demand, ...saved.profiles[profile]! };
  const record = cluster.admit(id, request as AdmittedRequest, order);
  const part = parts.get(id);
  if (part) cluster.allocs.add(part.set, part.index, record);
  if (slot >= 0) {
    cluster.settle(record, slot, inside.get(id));
    if (phase === 'leaving') cluster.leave(record);
    lend(cluster, record, idleCpu, idleMemory);
  } else if (nominated >= 0) {
    cluster.nominate(record, nominated);
  } else {
    cluster.groups.enqueue(record);
  }
  record.told = told;
}
