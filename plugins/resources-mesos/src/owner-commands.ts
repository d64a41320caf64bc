import { width } from '@cloudos/placement';
import {
  type Decision,
  event,
  nothing,
  type Refusal,
  type ResourceBounds,
  type ResourcesCommand,
  refuse,
} from '@cloudos/sdk';
import { Bundle } from './bundle.ts';
import type { MesosState } from './mesos-state.ts';
import { isFor, lineOf } from './reservations.ts';

export type OwnerCommand = Extract<ResourcesCommand, { type: 'SetQuota' | 'RemoveQuota' | 'SetOwnerState' }>;

/** Quota and states of roles. */
export function decideOwnerCommand(state: MesosState, command: OwnerCommand): Decision | Refusal {
  const { quotas } = state;
  switch (command.type) {
    case 'SetQuota': {
      const { type: _, ...data } = command;
      const fault = faultOf(state, data);
      if (fault) return refuse('COMMAND_REFUSED', fault);
      if (JSON.stringify(quotas.all.get(data.owner)?.data) === JSON.stringify(data)) return nothing;
      return { events: [event('QuotaSet', data)] };
    }
    case 'RemoveQuota': {
      const { owner, priority } = command;
      if (priority || !quotas.all.has(owner)) return nothing;
      return { events: [event('QuotaRemoved', { owner })] };
    }
    case 'SetOwnerState': {
      const { owner, state: wanted } = command;
      if (quotas.stopped.has(owner) === (wanted === 'stopped')) return nothing;
      return { events: [event('OwnerStateChanged', { owner, state: wanted })] };
    }
  }
}

/** What keeps the quota from being set, in words (the checks of Mesos, docs/quota.md). */
function faultOf(
  state: MesosState,
  data: Omit<Extract<OwnerCommand, { type: 'SetQuota' }>, 'type'>,
): string | undefined {
  const { owner, priority, limit, guarantee } = data;
  if (priority) return 'Mesos knows no priorities of roles: a quota is for all of them';
  const most = Bundle.ofBounds(limit, Number.POSITIVE_INFINITY);
  const promised = Bundle.ofBounds(guarantee ?? {}, 0);
  if (exceeds(promised, most, guarantee, limit)) return `more is promised to ${owner} than its limit allows`;
  const parents = lineOf(owner).slice(1);
  for (const parent of parents) {
    const above = state.quotas.all.get(parent);
    if (!above) continue;
    const bounds = above.data.limit;
    if (exceeds(most, above.limit, limit, bounds)) return `the limit of ${owner} is above that of ${parent}`;
    if (guarantee && exceeds(promisedBelow(state, parent, owner, promised), promisedTo(state, parent), guarantee, {})) {
      return `more would be promised below ${parent} than to ${parent} itself`;
    }
  }
  if (!guarantee) return undefined;
  const all = promisedBelow(state, '', owner, parents.length > 0 ? new Bundle() : promised);
  const { total } = state.shares;
  if (!total.covers(all)) return 'more would be promised than the cluster has';
  return undefined;
}

function promisedTo(state: MesosState, role: string): Bundle {
  return state.quotas.all.get(role)?.guarantee ?? new Bundle();
}

/** What is promised to the children of the role, with that for one of them instead of what it has. */
function promisedBelow(state: MesosState, parent: string, owner: string, instead: Bundle): Bundle {
  const sum = instead.copy();
  for (const [role, { guarantee }] of state.quotas.all) {
    const isChild =
      role.lastIndexOf('/') === (parent === '' ? -1 : parent.length) && (parent === '' || isFor(parent, role));
    if (isChild && role !== owner && role !== parent && guarantee) sum.add(guarantee, 1);
  }
  return sum;
}

const names = ['cpuMillis', 'memoryBytes', 'diskBytes', 'pids'] as const;

/** Whether one is above the other in a resource that both speak of. */
function exceeds(one: Bundle, other: Bundle, spoken: ResourceBounds | undefined, bounds: ResourceBounds): boolean {
  for (let dimension = 0; dimension < width; dimension++) {
    const name = names[dimension]!;
    const both = spoken?.[name] !== undefined && (bounds[name] !== undefined || Object.keys(bounds).length === 0);
    if (both && one.plain[dimension]! > other.plain[dimension]!) return true;
  }
  for (const [name, amount] of one.custom ?? []) {
    const bound = other.custom?.get(name);
    if (bound !== undefined && amount > bound) return true;
  }
  return false;
}
