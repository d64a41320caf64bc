import { type Decision, event, nothing, type Refusal, type ResourcesCommand, refuse } from '@cloudos/sdk';
import type { Cluster } from './cluster.ts';
import { unknownNode } from './node-commands.ts';

type OwnerCommand = Extract<ResourcesCommand, { type: 'SetQuota' | 'RemoveQuota' | 'SetOwnerState' }>;
type MaintenanceCommand = Extract<ResourcesCommand, { type: 'ScheduleMaintenance' | 'CancelMaintenance' }>;

export function isOwnerCommand(command: ResourcesCommand): command is OwnerCommand {
  return command.type === 'SetQuota' || command.type === 'RemoveQuota' || command.type === 'SetOwnerState';
}

export function isMaintenanceCommand(command: ResourcesCommand): command is MaintenanceCommand {
  return command.type === 'ScheduleMaintenance' || command.type === 'CancelMaintenance';
}

/** Answers a command about what an owner may do. What is so already is answered with no events. */
export function decideOwnerCommand({ owners }: Cluster, command: OwnerCommand): Decision {
  const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
  switch (command.type) {
    case 'SetQuota': {
      const { type: _, ...quota } = command;
      const known = owners.quotasOf(quota.owner).find(({ said }) => same(said.priority, quota.priority));
      return known && same(known.said, quota) ? nothing : { events: [event('QuotaSet', quota)] };
    }
    case 'RemoveQuota': {
      const { type: _, ...subject } = command;
      const known = owners.quotasOf(subject.owner).some(({ said }) => same(said.priority, subject.priority));
      return known ? { events: [event('QuotaRemoved', subject)] } : nothing;
    }
    case 'SetOwnerState': {
      const { owner, state } = command;
      return owners.stopped.includes(owner) === (state === 'stopped')
        ? nothing
        : { events: [event('OwnerStateChanged', { owner, state })] };
    }
  }
}

/** Answers a command about the maintenance of a node. */
export function decideMaintenanceCommand(
  cluster: Cluster,
  command: MaintenanceCommand,
  now: number,
): Decision | Refusal {
  const { node } = command;
  const facts = cluster.nodes.facts[cluster.nodes.slotOf(node)];
  if (!facts || facts.state === 'left') return unknownNode(cluster, node);
  const { maintenance, cordoned } = facts;
  if (command.type === 'CancelMaintenance') {
    if (!maintenance) return nothing;
    const back = maintenance.begun && cordoned ? [event('NodeUncordoned', { node })] : [];
    return { events: [event('MaintenanceCancelled', { node }), ...back] };
  }
  const { from, durationMs, reason } = command;
  if (from + durationMs <= now) {
    const given = new Date(from + durationMs).toISOString();
    return refuse('COMMAND_REFUSED', `the maintenance of ${node} would be over at ${given}, which is past`);
  }
  if (maintenance?.from === from && maintenance.durationMs === durationMs) return nothing;
  return { events: [event('MaintenanceScheduled', { node, from, durationMs, reason })] };
}
