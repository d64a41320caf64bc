import { decideNodeCommand, isNodeCommand, unsupportedCommand } from '@cloudos/placement';
import { type Decision, event, nothing, type Policy, type Refusal, type ResourcesCommand, refuse } from '@cloudos/sdk';
import { allocate } from './allocation.ts';
import { type MesosConfig, mesosConfig } from './config.ts';
import { decideFrameworkCommand } from './framework-commands.ts';
import { MesosState } from './mesos-state.ts';
import { decideOwnerCommand } from './owner-commands.ts';
import { decideReservationCommand } from './reservation-commands.ts';
import { mesosSnapshot } from './snapshot.ts';

/**
 * The allocator of a Mesos master as a pure decider: roles share the cluster by hierarchical dominant resource
 * fairness, within quota and reservations; each orchestrator of the stack is a framework that takes what it is offered
 * for its instances; frameworks outside of the stack get offers and answer them with commands.
 * Sources: Hindman et al., NSDI 2011; Ghodsi et al., NSDI 2011; https://mesos.apache.org/documentation/latest/.
 */
export function mesosPolicy(given: Partial<MesosConfig> = {}): Policy<MesosState, ResourcesCommand> {
  const config = mesosConfig.parse(given);
  return {
    initial: () => new MesosState(config),
    evolve(state, each) {
      state.apply(each);
      return state;
    },
    react: (state, _events, now) => allocate(state, now),
    decide,
    snapshot: mesosSnapshot(config),
  };
}

function decide(state: MesosState, command: ResourcesCommand): Decision | Refusal {
  if (isNodeCommand(command)) return decideNodeCommand(state.cluster, command);
  switch (command.type) {
    case 'SetQuota':
    case 'RemoveQuota':
    case 'SetOwnerState':
      return decideOwnerCommand(state, command);
    case 'Reserve':
    case 'Unreserve':
      return decideReservationCommand(state, command);
    case 'ScheduleMaintenance':
    case 'CancelMaintenance':
      return decideMaintenanceCommand(state, command);
    case 'Configure':
      return unsupportedCommand(command, 'resources-mesos');
    default:
      return decideFrameworkCommand(state, command.type, command.request);
  }
}

/** Maintenance of an agent (docs/maintenance.md): frameworks are asked to leave it, then it is drained. */
function decideMaintenanceCommand(
  { cluster }: MesosState,
  command: Extract<ResourcesCommand, { type: 'ScheduleMaintenance' | 'CancelMaintenance' }>,
): Decision | Refusal {
  const { node } = command;
  const facts = cluster.nodes.facts[cluster.nodes.slotOf(node)];
  if (!facts || facts.state === 'left') return refuse('NODE_NOT_FOUND', `no agent ${JSON.stringify(node)}`);
  const { maintenance, cordoned } = facts;
  if (command.type === 'ScheduleMaintenance') {
    const { from, durationMs, reason } = command;
    if (maintenance?.from === from && maintenance.durationMs === durationMs) return nothing;
    return { events: [event('MaintenanceScheduled', { node, from, durationMs, reason })] };
  }
  if (!maintenance) return nothing;
  const back = maintenance.begun && cordoned ? [event('NodeUncordoned', { node })] : [];
  return { events: [event('MaintenanceCancelled', { node }), ...back] };
}
