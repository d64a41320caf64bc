import {
  decideMaintenanceCommand,
  decideNodeCommand,
  isMaintenanceCommand,
  isNodeCommand,
  unsupportedCommand,
} from '@cloudos/placement';
import {
  type Decision,
  describeIssues,
  event,
  messageOf,
  nothing,
  type Refusal,
  type ResourcesCommand,
  refuse,
} from '@cloudos/sdk';
import { yarnConfig } from './config.ts';
import { configured } from './events.ts';
import { QueueTree } from './queues/queue-tree.ts';
import type { YarnState } from './yarn-state.ts';

/** Answers a command. What is so already is answered with no events. */
export function decideYarnCommand(state: YarnState, command: ResourcesCommand, now: number): Decision | Refusal {
  if (isNodeCommand(command)) return decideNodeCommand(state.cluster, command);
  if (isMaintenanceCommand(command)) return decideMaintenanceCommand(state.cluster, command, now);
  switch (command.type) {
    case 'SetQuota': {
      const { type: _, ...quota } = command;
      if (JSON.stringify(state.quotas.get(quota.owner)) === JSON.stringify(quota)) return nothing;
      const warnings =
        quota.priority === undefined ? [] : ['queues have no priority bands: the quota is recorded and limits nothing'];
      return { events: [event('QuotaSet', quota)], warnings };
    }
    case 'RemoveQuota': {
      const { type: _, ...subject } = command;
      return subject.priority === undefined && !state.quotas.has(subject.owner)
        ? nothing
        : { events: [event('QuotaRemoved', subject)] };
    }
    case 'SetOwnerState': {
      const { owner, state: wanted } = command;
      return state.stoppedOwners.has(owner) === (wanted === 'stopped')
        ? nothing
        : { events: [event('OwnerStateChanged', { owner, state: wanted })] };
    }
    case 'Configure':
      return configure(state, command.config);
    default:
      return unsupportedCommand(command, 'resources-yarn');
  }
}

/**
 * Other settings from now on, the whole of them. A queue with applications in it cannot be taken away, nor be given
 * queues below it: as `yarn rmadmin -refreshQueues` refuses.
 */
function configure(state: YarnState, given: Record<string, unknown>): Decision | Refusal {
  const parsed = yarnConfig.safeParse(given);
  if (!parsed.success) return refuse('COMMAND_INVALID', `config ${describeIssues(parsed.error, given)}`);
  const config = parsed.data;
  let tree: QueueTree;
  try {
    tree = new QueueTree(config);
  } catch (error) {
    return refuse('COMMAND_INVALID', `config ${messageOf(error)}`);
  }
  for (const queue of state.tree.queues) {
    if (queue.applications.size === 0) continue;
    const next = tree.get(queue.path) ?? (queue.dynamic ? tree.make(queue.path) : undefined);
    if (next?.isLeaf) continue;
    const why = next ? 'has queues below it in the new settings' : 'is not in the new settings';
    return refuse(
      'COMMAND_REFUSED',
      `queue ${queue.path} ${why}, ${queue.applications.size} applications are in it`,
      'Stop the queue, wait until it is empty, then take it away.',
    );
  }
  return JSON.stringify(config) === JSON.stringify(state.config) ? nothing : { events: [configured({ config })] };
}
