import type { Cluster } from '@cloudos/placement';
import {
  type Decision,
  describeIssues,
  type NewEvent,
  nothing,
  type Policy,
  type Refusal,
  type ResourcesCommand,
  refuse,
  type SharedEvent,
} from '@cloudos/sdk';
import type { BorgOptions } from './borg.policy.ts';
import { borgConfig } from './config.ts';
import { refuseOversold } from './oversold.ts';

/** Private: the settings from here on, the whole of them. */
const configuredType = 'x-resources-borg-Configured';

/** Settings that the bookkeeping is built on: they change with a swap only. */
const structural = ['failureDomains', 'cells', 'reclamation'] as const;

/** The cluster, and the settings that hold. */
export interface BorgState {
  readonly cluster: Cluster;
  /** As recorded last; undefined: those of the stack file. */
  readonly config: BorgOptions | undefined;
}

/**
 * The policy with settings that can be changed while it runs. A change is an event in its stream, so that a replay
 * decides the same; a plugin that does not know the event goes on with its own settings.
 */
export function configurable(
  options: BorgOptions,
  make: (options: BorgOptions) => Policy<Cluster, ResourcesCommand>,
): Policy<BorgState, ResourcesCommand> {
  const initial = make(options);
  let last: { readonly config: BorgOptions; readonly policy: Policy<Cluster, ResourcesCommand> } | undefined;
  /** Policies are without state: one for each configuration will do, and mostly it is the same one. */
  const policyOf = ({ config }: BorgState) => {
    if (config === undefined) return initial;
    if (last?.config !== config) last = { config, policy: make(config) };
    return last.policy;
  };
  return {
    asks: { guestUsage: options.reclamation !== undefined },
    initial: () => ({ cluster: initial.initial(), config: undefined }),
    evolve(state, event) {
      initial.evolve(state.cluster, event);
      const type: string = event.type;
      return type === configuredType ? { ...state, config: configOf(event) ?? state.config } : state;
    },
    react: (state, events, now) => policyOf(state).react(state.cluster, events, now),
    decide: (state, command, now) =>
      command.type === 'Configure'
        ? configure(state.config ?? options, command.config)
        : (refuseOversold(state.cluster, command) ?? policyOf(state).decide(state.cluster, command, now)),
    snapshot: {
      version: initial.snapshot!.version,
      save: ({ cluster, config }) => ({ cluster: initial.snapshot!.save(cluster), config: config ?? null }),
      load(saved) {
        const { cluster, config } = saved as { cluster: unknown; config: BorgOptions | null };
        return { cluster: initial.snapshot!.load(cluster), config: config ?? undefined };
      },
    },
  };
}

function configOf(event: SharedEvent): BorgOptions | undefined {
  return borgConfig.safeParse(event.data).data;
}

function configure(current: BorgOptions, given: Record<string, unknown>): Decision | Refusal {
  const parsed = borgConfig.safeParse(given);
  if (!parsed.success) return refuse('COMMAND_INVALID', `config ${describeIssues(parsed.error, given)}`);
  const config = parsed.data;
  const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
  const fixed = structural.filter((name) => !same(config[name], current[name]));
  if (fixed.length > 0) {
    const message = `${fixed.join(', ')} cannot change while the policy runs`;
    return refuse('COMMAND_REFUSED', message, 'Swap the plugin for itself with the new settings.');
  }
  if (borgConfigKeys.every((name) => same(config[name], current[name]))) return nothing;
  const configured: NewEvent = { type: configuredType, data: config };
  return { events: [configured] };
}

const borgConfigKeys = Object.keys(borgConfig.shape) as (keyof BorgOptions)[];
