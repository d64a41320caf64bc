import {
  type Decision,
  describeIssues,
  type NewEvent,
  nothing,
  owner,
  type Refusal,
  type ResourceVector,
  refuse,
  resourceVector,
} from '@cloudos/sdk';
import { z } from 'zod';
import { Bundle } from './bundle.ts';
import { frameworkEvent, type LaunchData, type PortRange, privatePrefix } from './framework-events.ts';
import type { Offer } from './frameworks.ts';
import { frameworkPrefix, type MesosState } from './mesos-state.ts';
import { refine, reserved, unreserved } from './reservation-commands.ts';
import { isFor, refinesLabel, sameLabels } from './reservations.ts';

const framework = z.string().startsWith(frameworkPrefix).max(200);
const offers = z.array(z.string().min(1)).min(1).max(4_096);
const refuseMs = z.number().nonnegative().max(31_536_000_000);
const labels = z.record(z.string(), z.string()).default({});
const part = z.object({ owner, resources: resourceVector, labels, principal: z.string().optional() });

const launch = z.object({
  workload: z.string().min(1).max(253),
  resources: resourceVector,
  ports: z.array(z.int().min(1).max(65_535)).max(64).default([]),
});

const operation = z.discriminatedUnion('type', [
  z.object({ type: z.literal('LAUNCH'), tasks: z.array(launch).max(1_024) }),
  /** All of them or none. */
  z.object({ type: z.literal('LAUNCH_GROUP'), tasks: z.array(launch).max(1_024) }),
  /** `from`: the role out of whose reservation it is refined. */
  z.object({ type: z.literal('RESERVE'), ...part.shape, from: owner.optional() }),
  z.object({ type: z.literal('UNRESERVE'), ...part.shape }),
]);

/** What the API for frameworks asks of the policy, as private commands. */
export const frameworkCommands = {
  Subscribe: z.object({
    framework,
    /** It was given that id before: refused where it is not known any more. */
    known: z.boolean(),
    name: z.string().max(1_000),
    user: z.string().max(1_000),
    roles: z.array(owner).min(1).max(256),
    suppressed: z.array(owner).max(256).default([]),
    failoverTimeoutMs: z.number().nonnegative().max(31_536_000_000),
    capabilities: z.array(z.string()).max(64).default([]),
    principal: z.string().optional(),
  }),
  Disconnect: z.object({ framework }),
  Teardown: z.object({ framework, reason: z.string().default('torn down') }),
  Decline: z.object({ framework, offers, refuseMs }),
  Accept: z.object({ framework, offers, operations: z.array(operation).max(256), refuseMs }),
  Release: z.object({ framework, workloads: z.array(z.string().min(1)).min(1).max(1_024), reason: z.string() }),
  Revive: z.object({ framework, roles: z.array(owner).max(256).default([]) }),
  Suppress: z.object({ framework, roles: z.array(owner).max(256).default([]) }),
} as const;

type Commands = { [Name in keyof typeof frameworkCommands]: z.output<(typeof frameworkCommands)[Name]> };

/** Answers a private command; refused by code where it is none of these. */
export function decideFrameworkCommand(state: MesosState, type: string, data: unknown): Decision | Refusal {
  const name = type.slice(privatePrefix.length);
  if (!type.startsWith(privatePrefix) || !Object.hasOwn(frameworkCommands, name)) {
    return refuse('COMMAND_UNSUPPORTED', `resources-mesos does not know the command ${type}`);
  }
  const parsed = frameworkCommands[name as keyof Commands].safeParse(data);
  if (!parsed.success) return refuse('COMMAND_INVALID', `${type}: ${describeIssues(parsed.error, data)}`);
  const command = { name, data: parsed.data } as {
    [Name in keyof Commands]: { name: Name; data: Commands[Name] };
  }[keyof Commands];
  if (command.name === 'Subscribe') return subscribe(state, command.data);
  const known = state.frameworks.all.get(command.data.framework);
  if (!known) return refuse('COMMAND_REFUSED', `framework ${command.data.framework} is not subscribed`);
  const roles = (given: readonly string[]) => (given.length > 0 ? given : known.data.roles);
  switch (command.name) {
    case 'Disconnect':
      return known.active ? decide(frameworkEvent('FrameworkDisconnected', command.data)) : nothing;
    case 'Teardown':
      return decide(frameworkEvent('FrameworkRemoved', command.data));
    case 'Decline':
      return decline(state, command.data);
    case 'Accept':
      return accept(state, command.data);
    case 'Release':
      return decide(frameworkEvent('LaunchesReleased', command.data));
    case 'Revive':
      return decide(frameworkEvent('OffersRevived', { ...command.data, roles: roles(command.data.roles) }));
    case 'Suppress':
      return decide(frameworkEvent('OffersSuppressed', { ...command.data, roles: roles(command.data.roles) }));
  }
}

function decide(...events: NewEvent[]): Decision {
  return { events };
}

function subscribe(state: MesosState, { known, principal, ...data }: Commands['Subscribe']): Decision | Refusal {
  const before = state.frameworks.all.get(data.framework);
  if (known && !before) return refuse('COMMAND_REFUSED', 'Framework has been removed');
  if (before && before.data.principal !== principal) {
    return refuse('COMMAND_REFUSED', `framework ${data.framework} belongs to another principal`);
  }
  const roles = [...new Set(data.roles)];
  return decide(
    frameworkEvent('FrameworkSubscribed', { ...data, roles, ...(principal !== undefined && { principal }) }),
  );
}

function decline(state: MesosState, { framework: id, offers: given, refuseMs: ms }: Commands['Decline']): Decision {
  const own = given.filter((offer) => state.frameworks.offers.get(offer)?.data.framework === id);
  if (own.length === 0) return nothing;
  return decide(frameworkEvent('OffersDeclined', { framework: id, offers: own, refuseMs: ms }));
}

/**
 * Takes offers of one agent and carries operations out on them in order. Tasks that do not fit into what is left of
 * the offers are left out: their launches are not among those that are recorded.
 */
function accept(state: MesosState, { framework: id, offers: given, operations, refuseMs: ms }: Commands['Accept']) {
  const accepted = given.map((offer) => state.frameworks.offers.get(offer));
  const [first] = accepted;
  if (!first || accepted.some((offer) => offer?.data.framework !== id)) {
    return refuse('COMMAND_REFUSED', `an offer is not valid any more: ${given.join(', ')}`);
  }
  if (accepted.some((offer) => offer?.slot !== first.slot || offer.role !== first.role)) {
    return refuse('COMMAND_REFUSED', 'offers of more than one agent or role cannot be accepted together');
  }
  const pool = new OfferPool(state, accepted as Offer[]);
  for (const each of operations) {
    const fault = pool.carryOut(each);
    if (fault !== undefined) return refuse('COMMAND_REFUSED', fault);
  }
  const { launches, events } = pool;
  return decide(...events, frameworkEvent('OffersAccepted', { framework: id, offers: given, launches, refuseMs: ms }));
}

/** What is in the offers that are being accepted, and what becomes of it. */
class OfferPool {
  readonly events: NewEvent[] = [];
  readonly launches: LaunchData[] = [];
  readonly #state: MesosState;
  readonly #node: string;
  readonly #role: string;
  readonly #left = new Bundle();
  readonly #parts: { owner: string; labels: Readonly<Record<string, string>>; amounts: Bundle; fixed: boolean }[];
  readonly #ports: readonly PortRange[];
  readonly #takenPorts = new Set<number>();

  constructor(state: MesosState, offers: readonly Offer[]) {
    this.#state = state;
    this.#node = offers[0]!.data.node;
    this.#role = offers[0]!.role;
    for (const { amounts } of offers) this.#left.add(amounts, 1);
    this.#ports = offers.flatMap(({ ports }) => ports);
    this.#parts = offers.flatMap(({ data }) =>
      (data.reserved ?? []).map(({ owner: of, resources, labels: given = {}, fixed }) => ({
        ...{ owner: of, labels: given, fixed },
        amounts: Bundle.of(resources),
      })),
    );
  }

  /** What is wrong with the operation, in words; undefined when it was carried out. */
  carryOut(given: z.output<typeof operation>): string | undefined {
    switch (given.type) {
      case 'LAUNCH':
        for (const task of given.tasks) this.#launch([task]);
        return undefined;
      case 'LAUNCH_GROUP':
        this.#launch(given.tasks);
        return undefined;
      case 'RESERVE':
        return this.#reserve(given);
      case 'UNRESERVE':
        return this.#unreserve(given);
    }
  }

  #launch(tasks: readonly z.output<typeof launch>[]): void {
    const wanted = new Bundle();
    for (const { resources } of tasks) wanted.add(Bundle.of(resources), 1);
    const ports = tasks.flatMap((task) => task.ports);
    const taken = ports.some((port) => !this.#offers(port) || this.#takenPorts.has(port));
    const twice = new Set(ports).size < ports.length;
    const known = tasks.some(
      ({ workload }) => this.#state.cluster.workloads.has(workload) || this.#isLaunched(workload),
    );
    if (!this.#left.covers(wanted) || taken || twice || known) return;
    this.#left.add(wanted, -1);
    for (const port of ports) this.#takenPorts.add(port);
    for (const { workload, resources, ports: own } of tasks) {
      this.launches.push({ workload, role: this.#role, node: this.#node, resources, ports: own });
    }
  }

  #isLaunched(workload: string): boolean {
    return this.#state.frameworks.launches.has(workload) || this.launches.some((each) => each.workload === workload);
  }

  #offers(port: number): boolean {
    return this.#ports.some(({ begin, end }) => port >= begin && port <= end);
  }

  #reserve({ owner: role, resources, labels: given, principal, from }: Operation<'RESERVE'>): string | undefined {
    if (!isFor(this.#role, role)) return `resources offered to role ${this.#role} cannot be set aside for ${role}`;
    const to = { owner: role, labels: given, principal, resources };
    if (from !== undefined) {
      const source = this.#parts.find((each) => each.owner === from && !each.fixed && this.#covers(each, resources));
      if (!source) return `the offer has less than that set aside for ${from}`;
      source.amounts.add(Bundle.of(resources), -1);
      this.events.push(...refine(this.#node, { ...source, principal: undefined }, to));
      this.#parts.push({
        owner: role,
        labels: { ...given, [refinesLabel]: from },
        amounts: Bundle.of(resources),
        fixed: false,
      });
      return undefined;
    }
    const unreservedLeft = this.#left.copy();
    for (const { amounts } of this.#parts) unreservedLeft.add(amounts, -1);
    if (!unreservedLeft.floor().covers(Bundle.of(resources))) return 'the offer has less than that not set aside';
    this.events.push(reserved(this.#node, to));
    this.#parts.push({ owner: role, labels: given, amounts: Bundle.of(resources), fixed: false });
    return undefined;
  }

  #unreserve({ owner: role, resources, labels: given, principal }: Operation<'UNRESERVE'>): string | undefined {
    const source = this.#parts.find(
      (each) => each.owner === role && !each.fixed && matches(each.labels, given) && this.#covers(each, resources),
    );
    if (!source) return `the offer has less than that set aside for ${role}`;
    source.amounts.add(Bundle.of(resources), -1);
    this.events.push(...unreserved(this.#node, { owner: role, labels: source.labels, principal, resources }));
    return undefined;
  }

  #covers({ amounts }: { amounts: Bundle }, resources: ResourceVector): boolean {
    const wanted = Bundle.of(resources);
    return amounts.covers(wanted) && this.#left.covers(wanted);
  }
}

type Operation<Type extends string> = Extract<z.output<typeof operation>, { type: Type }>;

/** The same labels, those aside that this plugin adds. */
function matches(own: Readonly<Record<string, string>>, given: Readonly<Record<string, string>>): boolean {
  const { [refinesLabel]: _, ...rest } = own;
  return sameLabels(own, given) || sameLabels(rest, given);
}
