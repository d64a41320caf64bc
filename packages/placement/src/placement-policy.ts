import type { Policy, ResourcesCommand } from '@cloudos/sdk';
import { Cluster, type ClusterOptions } from './cluster.ts';
import { clusterSnapshot } from './cluster-snapshot.ts';
import { decideNodeCommand, isNodeCommand, unsupportedCommand } from './node-commands.ts';
import { decideRound, type PlacementStrategy, type RoundLimits } from './placement-round.ts';

/** A resource manager from a way to choose: bookkeeping, queues, reasons and node commands are the same for all. */
export function placementPolicy(
  options: ClusterOptions & RoundLimits & { readonly name: string },
  makeStrategy: (cluster: Cluster, now: number) => PlacementStrategy,
): Policy<Cluster, ResourcesCommand> {
  return {
    initial: () => new Cluster(options),
    evolve(cluster, event) {
      cluster.apply(event);
      return cluster;
    },
    react: (cluster, _events, now) => decideRound(cluster, makeStrategy, options, now),
    decide: (cluster, command) =>
      isNodeCommand(command) ? decideNodeCommand(cluster, command) : unsupportedCommand(command, options.name),
    snapshot: clusterSnapshot(options),
  };
}
