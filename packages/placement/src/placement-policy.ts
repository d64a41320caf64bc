import type { Decision, Policy, Refusal, ResourcesCommand } from '@cloudos/sdk';
import { Cluster } from './cluster.ts';
import type { ClusterOptions } from './cluster-options.ts';
import { clusterSnapshot } from './cluster-snapshot.ts';
import { decideNodeCommand, isNodeCommand, unsupportedCommand } from './node-commands.ts';
import {
  decideMaintenanceCommand,
  decideOwnerCommand,
  isMaintenanceCommand,
  isOwnerCommand,
} from './owner-commands.ts';
import { decideRound, type PlacementStrategy, type RoundLimits } from './placement-round.ts';
import { decideReservationCommand, isReservationCommand } from './reservation-commands.ts';

export interface PlacementPolicyOptions extends ClusterOptions, RoundLimits {
  /** Of the plugin, for messages. */
  readonly name: string;
  /** Whether owners have quotas and states. Otherwise nobody is bounded, and commands about them are refused. */
  readonly quotas?: boolean;
}

/** A resource manager from a way to choose: bookkeeping, queues, reasons and commands are the same for all. */
export function placementPolicy(
  options: PlacementPolicyOptions,
  makeStrategy: (cluster: Cluster, now: number) => PlacementStrategy,
): Policy<Cluster, ResourcesCommand> {
  return {
    initial: () => new Cluster(options),
    evolve(cluster, event) {
      cluster.apply(event);
      return cluster;
    },
    react: (cluster, _events, now) => decideRound(cluster, makeStrategy, options, now),
    decide: (cluster, command, now) => decideCommand(cluster, command, now, options),
    snapshot: clusterSnapshot(options),
  };
}

function decideCommand(
  cluster: Cluster,
  command: ResourcesCommand,
  now: number,
  { name, quotas, reservations, graceMs }: PlacementPolicyOptions,
): Decision | Refusal {
  if (isNodeCommand(command)) return decideNodeCommand(cluster, command);
  if (isMaintenanceCommand(command)) return decideMaintenanceCommand(cluster, command, now);
  if (quotas && isOwnerCommand(command)) return decideOwnerCommand(cluster, command);
  if (reservations && isReservationCommand(command)) return decideReservationCommand(cluster, command, graceMs);
  return unsupportedCommand(command, name);
}
