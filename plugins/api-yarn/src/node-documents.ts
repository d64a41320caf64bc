import type { ResourceManager } from './resource-manager.ts';
import { mebibytes, vCores } from './units.ts';

/** Numbers of the four plain resources that every node has, in the order of the node table. */
const width = 4;

export type NodeStateName = 'RUNNING' | 'LOST' | 'DECOMMISSIONING' | 'DECOMMISSIONED' | 'SHUTDOWN';

/** `Cluster Nodes API`: the states that are asked for; without any, those of nodes that can be used. */
export function nodeList(manager: ResourceManager, query: URLSearchParams) {
  const states = query.getAll('states').flatMap((value) => value.toUpperCase().split(','));
  const node = manager.state.cluster.nodes.facts
    .map((_, slot) => nodeInfo(manager, slot))
    .filter(({ state }) =>
      states.length > 0
        ? states.includes(state)
        : state !== 'LOST' && state !== 'SHUTDOWN' && state !== 'DECOMMISSIONED',
    );
  return { nodes: node.length === 0 ? null : { node } };
}

/** One node. Its agent is part of the kernel: it has neither a port nor a page of its own. */
export function nodeInfo({ state }: ResourceManager, slot: number) {
  const { nodes } = state.cluster;
  const facts = nodes.facts[slot]!;
  const at = slot * width;
  const label = state.tree.labels[state.partitions.of(slot)] ?? '';
  const free = (dimension: number) => Math.max(0, nodes.capacity[at + dimension]! - nodes.used[at + dimension]!);
  return {
    rack: `/${facts.attributes[state.config.rackAttribute] ?? 'default-rack'}`,
    state: stateOf(facts),
    id: `${facts.id}:0`,
    nodeHostName: facts.id,
    nodeHTTPAddress: '',
    healthStatus: facts.state === 'lost' ? 'UNHEALTHY' : 'HEALTHY',
    healthReport: facts.state === 'lost' ? 'the node does not answer' : '',
    lastHealthUpdate: 0,
    version: '',
    numContainers: facts.instances.size,
    usedMemoryMB: mebibytes(nodes.used[at + 1]!),
    availMemoryMB: mebibytes(free(1)),
    usedVirtualCores: vCores(nodes.used[at]!),
    availableVirtualCores: Math.floor(free(0) / 1_000),
    ...(label === '' ? {} : { nodeLabels: [label] }),
    nodeAttributesInfo: {
      nodeAttributeInfo: Object.entries(facts.attributes).map(([name, value]) => ({
        prefix: 'nm.yarn.io',
        name,
        type: 'STRING',
        value,
      })),
    },
  };
}

function stateOf({
  state,
  cordoned,
  draining,
  drained,
}: ResourceManager['state']['cluster']['nodes']['facts'][number]): NodeStateName {
  if (state === 'left') return 'SHUTDOWN';
  if (state === 'lost') return 'LOST';
  if (draining && !drained) return 'DECOMMISSIONING';
  return cordoned ? 'DECOMMISSIONED' : 'RUNNING';
}
