import type { ResourceVector, WorkloadSpec } from '@cloudos/sdk';
import { amountsOf, type MesosResource } from './amounts.ts';
import type { Operation, TaskInfo } from './calls.ts';
import type { Update } from './task.ts';
import { specOf, TaskFault, workloadOf } from './task-spec.ts';

/** What an ACCEPT comes to: operations for the resource manager, workloads to declare, tasks that cannot be. */
export interface Plan {
  readonly operations: object[];
  readonly specs: Map<string, { readonly task: TaskInfo; readonly spec: WorkloadSpec }>;
  readonly faults: { readonly task: TaskInfo; readonly update: Update }[];
}

export interface PlanOptions {
  readonly framework: string;
  readonly role: string;
  /** Agent of the offers. */
  readonly node: string;
  readonly image: string;
  readonly now: number;
  /** Whether the framework has a task of that name. */
  readonly known: (workload: string) => boolean;
}

/** Translates operations on offers. Tasks that are not sound are left out and get a TASK_ERROR. */
export function planOperations(given: readonly Operation[], options: PlanOptions): Plan {
  const plan: Plan = { operations: [], specs: new Map(), faults: [] };
  for (const operation of given) {
    switch (operation.type) {
      case 'LAUNCH':
        plan.operations.push({ type: 'LAUNCH', tasks: launches(plan, operation.launch.task_infos, options) });
        break;
      case 'LAUNCH_GROUP': {
        const { tasks } = operation.launch_group.task_group;
        const sound = launches(plan, tasks, options);
        // all of them or none
        if (sound.length === tasks.length) plan.operations.push({ type: 'LAUNCH_GROUP', tasks: sound });
        else for (const task of tasks) drop(plan, task, options, 'another task of its group is not sound');
        break;
      }
      case 'RESERVE':
        for (const part of partsOf(operation.reserve.resources)) plan.operations.push({ type: 'RESERVE', ...part });
        break;
      case 'UNRESERVE':
        for (const { from: _, ...part } of partsOf(operation.unreserve.resources)) {
          plan.operations.push({ type: 'UNRESERVE', ...part });
        }
    }
  }
  return plan;
}

function launches(plan: Plan, tasks: readonly TaskInfo[], options: PlanOptions): object[] {
  const { framework, role, image, node, now, known } = options;
  return tasks.flatMap((task) => {
    try {
      const workload = workloadOf(framework, task.task_id.value);
      if (known(workload) || plan.specs.has(workload)) throw new TaskFault('the task id is in use');
      if (task.agent_id.value !== node) throw new TaskFault(`the offer is of agent ${node}`);
      const spec = specOf(framework, role, task, image);
      plan.specs.set(workload, { task, spec });
      return [{ workload, resources: spec.template.requests, ports: spec.hostPorts ?? [] }];
    } catch (error) {
      if (!(error instanceof TaskFault)) throw error;
      plan.faults.push({ task, update: invalid(error.message, now) });
      return [];
    }
  });
}

function drop(plan: Plan, task: TaskInfo, { framework, now }: PlanOptions, message: string): void {
  if (!plan.specs.delete(workloadOf(framework, task.task_id.value))) return;
  plan.faults.push({ task, update: invalid(message, now) });
}

export function invalid(message: string, at: number): Update {
  return { state: 'TASK_ERROR', at, source: 'SOURCE_MASTER', reason: 'REASON_TASK_INVALID', message };
}

interface Part {
  readonly owner: string;
  readonly resources: ResourceVector;
  readonly labels: Record<string, string>;
  readonly principal?: string;
  /** The role out of whose reservation it is refined. */
  readonly from?: string;
}

/** Resources by whom they are set aside for: the last of the stack of reservations, the one before it the source. */
function partsOf(resources: readonly MesosResource[]): Part[] {
  const groups = new Map<string, { resources: MesosResource[]; part: Omit<Part, 'resources'> }>();
  for (const resource of resources) {
    const part = partOf(resource);
    const key = JSON.stringify(part);
    const group = groups.get(key);
    if (group) group.resources.push(resource);
    else groups.set(key, { resources: [resource], part });
  }
  return [...groups.values()].map((group) => ({ ...group.part, resources: amountsOf(group.resources).resources }));
}

function partOf({ role, reservation, reservations = [] }: MesosResource): Omit<Part, 'resources'> {
  const top = reservations.at(-1);
  const below = reservations.at(-2);
  const principal = top?.principal ?? reservation?.principal;
  const labels = (top?.labels ?? reservation?.labels)?.labels ?? [];
  return {
    owner: top?.role ?? role ?? '*',
    labels: Object.fromEntries(labels.map(({ key, value = '' }) => [key, value])),
    ...(principal !== undefined && { principal }),
    ...(below && { from: below.role }),
  };
}
