import {
  type Decision,
  type EventData,
  event,
  type NewEvent,
  type Refusal,
  type ResourcesCommand,
  type ResourceVector,
  refuse,
} from '@cloudos/sdk';
import { Agents } from './agents.ts';
import { Bundle } from './bundle.ts';
import type { MesosState } from './mesos-state.ts';
import { lineOf, type Reservation, refinesLabel } from './reservations.ts';

export type ReservationCommand = Extract<ResourcesCommand, { type: 'Reserve' | 'Unreserve' }>;
type Labels = Readonly<Record<string, string>>;

/** Dynamic reservations by an operator (docs/reservation.md): on an agent that is named. */
export function decideReservationCommand(state: MesosState, command: ReservationCommand): Decision | Refusal {
  const { node, owner, reservation } = command;
  if (reservation !== undefined) {
    return refuse('COMMAND_UNSUPPORTED', 'resources-mesos knows no named reservations: it reserves on an agent');
  }
  if (
    command.type === 'Reserve' &&
    (command.count !== 1 || command.from !== undefined || command.until !== undefined)
  ) {
    return refuse('COMMAND_UNSUPPORTED', 'resources-mesos reserves once, at once and until it is given up');
  }
  if (node === undefined || owner === undefined) {
    return refuse('COMMAND_REFUSED', 'say which agent (node) and which role (owner) the reservation is of');
  }
  const slot = state.cluster.nodes.slotOf(node);
  const facts = state.cluster.nodes.facts[slot];
  if (!facts || facts.state === 'left') return refuse('NODE_NOT_FOUND', `no agent ${JSON.stringify(node)}`);
  const { labels = {}, principal } = command;
  const about = { state, slot, node, owner, labels, principal };
  if (command.type === 'Reserve') return reserve({ ...about, resources: command.resources });
  return unreserve({ ...about, resources: command.resources });
}

interface About {
  readonly state: MesosState;
  readonly slot: number;
  readonly node: string;
  readonly owner: string;
  readonly labels: Labels;
  readonly principal: string | undefined;
}

/**
 * Sets resources aside: out of what the nearest role above has set aside and does not use, where that is enough (a
 * refinement), else out of what is free for everyone.
 */
function reserve({ state, slot, node, owner, labels, principal, resources }: About & { resources: ResourceVector }) {
  const wanted = Bundle.of(resources);
  if (wanted.isEmpty) return refuse('COMMAND_REFUSED', 'a reservation of nothing');
  const agents = new Agents(state);
  const unused = agents.unused(slot);
  for (const above of lineOf(owner).slice(1)) {
    if (!unused.get(above)?.covers(wanted)) continue;
    const entry = state.reservations
      .on(slot)
      .find((each) => each.owner === above && !each.fixed && each.amounts.covers(wanted));
    if (entry) return { events: refine(node, entry, { owner, labels, principal, resources }) };
  }
  const free = agents.available(slot, '');
  if (free.covers(wanted)) return { events: [reserved(node, { owner, labels, principal, resources })] };
  return refuse('COMMAND_REFUSED', `agent ${node} has less than that free and not set aside for anybody`);
}

interface Part {
  readonly owner: string;
  readonly labels: Labels;
  readonly principal: string | undefined;
  readonly resources: ResourceVector;
}

/** What was set aside for one role is set aside for one below it. */
export function refine(node: string, from: Pick<Reservation, 'owner' | 'labels' | 'principal'>, to: Part): NewEvent[] {
  return [
    event('ResourcesUnreserved', dataOf(node, { ...from, resources: to.resources })),
    reserved(node, { ...to, labels: { ...to.labels, [refinesLabel]: from.owner } }),
  ];
}

export function reserved(node: string, part: Part): NewEvent {
  return event('ResourcesReserved', dataOf(node, part));
}

/** What is not set aside any more. What was refined out of the reservation of a role above is set aside for it again. */
export function unreserved(node: string, part: Part): NewEvent[] {
  const events: NewEvent[] = [event('ResourcesUnreserved', dataOf(node, part))];
  const above = part.labels[refinesLabel];
  if (above !== undefined) events.push(reserved(node, { ...part, owner: above, labels: {} }));
  return events;
}

function dataOf(node: string, { owner, labels, principal, resources }: Part): EventData<'ResourcesReserved'> {
  return {
    owner,
    node,
    resources,
    ...(Object.keys(labels).length > 0 && { labels }),
    ...(principal !== undefined && { principal }),
  };
}

function unreserve({ state, slot, node, owner, labels, resources }: About & { resources: ResourceVector | undefined }) {
  const entries = state.reservations
    .on(slot)
    .filter((entry) => entry.owner === owner && holds(entry.labels, labels) && entry.reservation === undefined);
  const dynamic = entries.filter(({ fixed }) => !fixed);
  if (dynamic.length === 0) {
    const why = entries.length > 0 ? 'what it has there is in the configuration' : 'nothing is';
    return refuse('COMMAND_REFUSED', `role ${owner} has no dynamic reservation on agent ${node}: ${why} set aside`);
  }
  const all = new Bundle();
  for (const { amounts } of dynamic) all.add(amounts, 1);
  const wanted = resources ? Bundle.of(resources) : all;
  if (!all.covers(wanted)) {
    return refuse('COMMAND_REFUSED', `role ${owner} has less than that set aside on agent ${node}`);
  }
  if (!new Agents(state).unused(slot).get(owner)?.covers(wanted)) {
    return refuse('COMMAND_REFUSED', `what role ${owner} has set aside on agent ${node} is in use, or offered`);
  }
  const left = wanted.copy();
  return {
    events: dynamic.flatMap((entry) => {
      const part = entry.amounts.min(left);
      left.add(part, -1);
      if (part.isEmpty) return [];
      return unreserved(node, { ...entry, resources: part.vector });
    }),
  };
}

/** Whether the labels have all of those that are given. */
function holds(labels: Labels, given: Labels): boolean {
  return Object.entries(given).every(([name, value]) => labels[name] === value);
}
