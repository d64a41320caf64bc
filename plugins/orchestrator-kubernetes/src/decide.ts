import {
  type Decision,
  event,
  type GuestLimits,
  nothing,
  type OrchestratorCommand,
  type Refusal,
  refuse,
  type WorkloadSpec,
} from '@cloudos/sdk';
import { applyManifest, removals, removeManifest, samePart, sameValue } from './apply.ts';
import { resolveStrategy, strategyOfManifest } from './manifest/workload.ts';
import { findTarget } from './names.ts';
import type { KubernetesOptions } from './options.ts';
import { isPaused } from './rollout.ts';
import type { State, Workload } from './state.ts';

/** Answers a command. Only declarations are decided here; the instances follow in the reaction. */
export function decide(state: State, command: OrchestratorCommand, options: KubernetesOptions): Decision | Refusal {
  switch (command.type) {
    case 'Apply':
      return applyManifest(state, command.text, command.source ?? 'manifest', options);
    case 'Declare':
      return declare(state, command.spec, command.replace === true);
    case 'RemoveManifest':
      return removeManifest(state, command.text, command.source ?? 'manifest', options);
    case 'Remove':
      return remove(state, command.name, command.kind);
    case 'RemoveAll':
      return { events: removals(state.workloads.keys(), state.services.keys()) };
    case 'Scale':
      return onWorkload(state, command.workload, (workload) => scale(workload, command.replicas));
    case 'Resize':
      return onWorkload(state, command.workload, (workload) => resize(workload, command));
    case 'Rollback':
      return onWorkload(state, command.workload, (workload) => rollback(workload, command.revision));
    case 'Restart':
      return onWorkload(state, command.workload, restart);
  }
}

/** A workload that comes in the shared terms: nothing of it is of Kubernetes. */
function declare(state: State, spec: WorkloadSpec, replace: boolean): Decision | Refusal {
  const known = state.workloads.get(spec.workload);
  if (!known || known.removed) return { events: [event('WorkloadDeclared', spec)] };
  if (sameValue(known.spec, { ...spec, revision: known.spec.revision })) return nothing;
  if (replace && known.spec.kind === spec.kind) {
    return { events: [event('WorkloadChanged', { ...spec, revision: known.spec.revision + 1 })] };
  }
  return refuse('COMMAND_REFUSED', `workload ${spec.workload} is declared already, and differently`);
}

function onWorkload(state: State, name: string, then: (workload: Workload) => Decision | Refusal): Decision | Refusal {
  const target = findTarget(state, name, undefined, 'workload');
  if ('refused' in target) return target;
  return target.kind === 'workload' ? then(target.workload) : nothing;
}

function remove(state: State, name: string, kind: string | undefined): Decision | Refusal {
  const target = findTarget(state, name, kind);
  if ('refused' in target) return target;
  if (target.kind === 'service') return { events: removals([], [target.service]) };
  return { events: removals([target.workload.spec.workload], []) };
}

function scale({ spec }: Workload, replicas: number): Decision | Refusal {
  if (spec.kind === 'Pod') return unfit(spec, 'cannot be scaled');
  if (spec.replicas === replicas) return nothing;
  const native = strategyOfManifest(spec.manifest);
  const strategy = native ? resolveStrategy(native, replicas) : spec.strategy;
  return { events: [event('WorkloadChanged', { ...spec, replicas, strategy })] };
}

/** The revision stays, and with it every instance: their nodes change the limits of the guests that are there. */
function resize({ spec }: Workload, { limits, options }: GuestLimits): Decision | Refusal {
  const template = { ...spec.template, limits, ...(options === undefined ? {} : { options }) };
  if (sameValue(template, spec.template)) return nothing;
  return { events: [event('WorkloadChanged', { ...spec, template })] };
}

/** The old template under a new revision (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment). */
function rollback(workload: Workload, revision: number | undefined): Decision | Refusal {
  const { spec, groups } = workload;
  if (spec.kind === 'Pod' || spec.kind === 'ReplicaSet') return unfit(spec, 'has no revisions to return to');
  if (isPaused(workload)) return unfit(spec, 'is paused: resume it first');
  const known = [...groups.keys()].sort((a, b) => a - b);
  const chosen = revision ?? known.filter((one) => one < spec.revision).at(-1);
  const part = chosen === undefined ? undefined : groups.get(chosen)?.part;
  if (!part) {
    const given = revision === undefined ? 'has no earlier revision' : `has no revision ${revision}`;
    return refuse('REVISION_NOT_FOUND', `${spec.workload} ${given}; there are ${known.join(', ')}`);
  }
  if (samePart(part, spec)) {
    return { events: [], warnings: [`${spec.workload} already runs the template of revision ${chosen}`] };
  }
  return { events: [event('WorkloadChanged', { ...withoutNode(spec), ...part, revision: spec.revision + 1 })] };
}

function restart(workload: Workload): Decision | Refusal {
  const { spec } = workload;
  if (spec.kind === 'Pod' || spec.kind === 'ReplicaSet') return unfit(spec, 'cannot be restarted in steps');
  if (isPaused(workload)) return unfit(spec, 'is paused: resume it first');
  return { events: [event('WorkloadChanged', { ...spec, revision: spec.revision + 1 })] };
}

function withoutNode({ node: _, ...rest }: WorkloadSpec): WorkloadSpec {
  return rest;
}

function unfit(spec: WorkloadSpec, reason: string): Refusal {
  return refuse('COMMAND_REFUSED', `${spec.kind} ${spec.workload} ${reason}`);
}
