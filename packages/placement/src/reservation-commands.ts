import { type Decision, event, type Refusal, type ResourcesCommand, refuse } from '@cloudos/sdk';
import { reservedOf } from './alloc-sets.ts';
import type { Cluster } from './cluster.ts';

type ReservationCommand = Extract<ResourcesCommand, { type: 'Reserve' | 'Unreserve' }>;

export function isReservationCommand(command: ResourcesCommand): command is ReservationCommand {
  return command.type === 'Reserve' || command.type === 'Unreserve';
}

/**
 * Answers a command about named reservations whose parts are placed like instances (alloc sets). What is set aside on a
 * node without a name is not of this kind, and refused.
 * @param graceMs for those who run in what is given up, where their workload was never declared
 */
export function decideReservationCommand(
  cluster: Cluster,
  command: ReservationCommand,
  graceMs: number,
): Decision | Refusal {
  const { reservation } = command;
  if (reservation === undefined) {
    return refuse('COMMAND_REFUSED', 'reservations need a name here, given none', 'Name it: `reservation`.');
  }
  const set = cluster.allocs.sets.get(reservation);
  if (command.type === 'Reserve') {
    if (set) return refuse('COMMAND_REFUSED', `reservation ${reservation} is there already`, 'Choose another name.');
    if (command.from !== undefined || command.until !== undefined) {
      return refuse('COMMAND_REFUSED', 'reservations hold until they are given up here, given a time');
    }
    const { type: _, ...spec } = command;
    return { events: [event('ReservationRequested', { ...spec, reservation })] };
  }
  if (!set || set.withdrawn) {
    const known = [...cluster.allocs.sets.keys()].slice(0, namesMax).join(', ') || 'none';
    return refuse('RESERVATION_NOT_FOUND', `no reservation ${JSON.stringify(reservation)}; there are: ${known}`);
  }
  const reason = command.reason || 'the reservation is given up';
  const parts = set.allocs.filter((alloc) => alloc !== undefined && alloc.record.slot >= 0);
  const evicted = parts.flatMap((alloc) => [...alloc!.inside].filter(({ phase }) => phase === 'placed'));
  const nodeOf = (slot: number) => cluster.nodes.facts[slot]!.id;
  return {
    events: [
      ...evicted.map((record) =>
        event('InstancePreempted', {
          instance: record.id,
          node: nodeOf(record.slot),
          reason,
          graceMs: record.workload.graceMs ?? graceMs,
        }),
      ),
      ...parts
        .filter((alloc) => !alloc!.closing)
        .map((alloc) => event('ResourcesUnreserved', reservedOf(alloc!, nodeOf(alloc!.record.slot)))),
      event('ReservationWithdrawn', { reservation, reason }),
    ],
  };
}

/** Names that a refusal lists. */
const namesMax = 10;
