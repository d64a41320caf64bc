import { type Decision, event, nothing, type Refusal, type ResourcesCommand, refuse } from '@cloudos/sdk';
import type { Cluster } from './cluster.ts';

/** Node names that a refusal lists. */
const namesMax = 10;

export type NodeCommand = Extract<ResourcesCommand, { type: 'CordonNode' | 'UncordonNode' | 'DrainNode' }>;

export function isNodeCommand(command: ResourcesCommand): command is NodeCommand {
  return command.type === 'CordonNode' || command.type === 'UncordonNode' || command.type === 'DrainNode';
}

/** The answer to a command that the policy does not know of. */
export function unsupportedCommand({ type }: ResourcesCommand, plugin: string): Refusal {
  return refuse('COMMAND_UNSUPPORTED', `${plugin} does not know the command ${type}`);
}

/** Answers a command about a node. What is so already is answered with no events. */
export function decideNodeCommand(cluster: Cluster, command: NodeCommand): Decision | Refusal {
  const facts = cluster.nodes.facts[cluster.nodes.slotOf(command.node)];
  if (!facts || facts.state === 'left') return unknownNode(cluster, command.node);
  const { node } = command;
  switch (command.type) {
    case 'CordonNode':
      return facts.cordoned ? nothing : { events: [event('NodeCordoned', { node, reason: command.reason })] };
    case 'UncordonNode':
      return facts.cordoned ? { events: [event('NodeUncordoned', { node })] } : nothing;
    case 'DrainNode':
      return facts.draining
        ? nothing
        : { events: [event('NodeCordoned', { node, reason: command.reason, drain: true })] };
  }
}

/** Refuses a node that is not there, with those that are. */
export function unknownNode(cluster: Cluster, node: string): Refusal {
  const names = cluster.nodes.facts.filter(({ state }) => state !== 'left').map(({ id }) => id);
  const listed = names.slice(0, namesMax).join(', ');
  const rest = names.length > namesMax ? ` and ${names.length - namesMax} more` : '';
  return refuse(
    'NODE_NOT_FOUND',
    `no node ${JSON.stringify(node)}; ${names.length > 0 ? `known nodes: ${listed}${rest}` : 'no node has joined'}`,
  );
}
