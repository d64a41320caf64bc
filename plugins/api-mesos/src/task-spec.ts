import { createHash } from 'node:crypto';
import { type GuestTemplate, type Probe, type WorkloadSpec, workloadSpec } from '@cloudos/sdk';
import { type Amounts, amountsOf } from './amounts.ts';
import type { TaskInfo } from './calls.ts';

/** Kind of the workloads that tasks of frameworks are. */
export const taskKind = 'MesosTask';

/** Between SIGTERM and SIGKILL where the task has no kill policy, as the command executor of Mesos has it. */
const killGraceMs = 3_000;

/** What of a task is kept in the manifest of its workload, to be told to its framework. */
export interface TaskManifest {
  readonly framework: string;
  readonly task: string;
  readonly name: string;
  readonly agent: string;
  readonly role: string;
}

/** A task that cannot be run, in words for its framework. */
export class TaskFault extends Error {}

/** Name of the workload of a task: the framework is its namespace. */
export function workloadOf(framework: string, task: string): string {
  const plain = task.replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, 120);
  if (plain === task) return `${framework}/${task}`;
  return `${framework}/${plain}-${createHash('sha256').update(task).digest('hex').slice(0, 10)}`;
}

/** The workload that a task is: one instance, on the agent of the offer, that is not restarted and not replaced. */
export function specOf(framework: string, role: string, task: TaskInfo, image: string): WorkloadSpec {
  if (task.executor !== undefined) throw new TaskFault('custom executors are not supported: give the task a command');
  const amounts = amountsIn(task);
  const manifest: TaskManifest = {
    ...{ framework, task: task.task_id.value, name: task.name, agent: task.agent_id.value, role },
  };
  return workloadSpec.parse({
    workload: workloadOf(framework, task.task_id.value),
    kind: taskKind,
    revision: 1,
    replicas: 1,
    once: true,
    template: templateOf(framework, task, amounts, image),
    strategy: { kind: 'recreate' },
    node: task.agent_id.value,
    owner: role,
    user: framework,
    ...(amounts.ports.length > 0 && { hostPorts: amounts.ports }),
    labels: labelsOf(task),
    manifest,
  });
}

export function amountsIn({ resources }: Pick<TaskInfo, 'resources'>): Amounts {
  try {
    return amountsOf(resources);
  } catch (error) {
    throw new TaskFault((error as Error).message);
  }
}

function templateOf(framework: string, task: TaskInfo, { resources, ports }: Amounts, image: string): GuestTemplate {
  const { command, container, health_check: check, kill_policy: policy } = task;
  if (command && command.uris.length > 0) throw new TaskFault('URIs are not fetched: put the files into the image');
  const named = container?.docker?.image ?? container?.mesos?.image?.docker?.name;
  if (!command?.value && named === undefined) throw new TaskFault('the task has neither a command nor an image');
  const grace = policy?.grace_period?.nanoseconds;
  const probe = check && probeOf(check);
  return {
    image: named ?? image,
    ...(container?.type === 'DOCKER' && { runtime: 'docker' }),
    ...wordsOf(command),
    env: [
      ...(command?.environment?.variables ?? []).map(({ name, value = '' }) => ({ name, value })),
      { name: 'MESOS_FRAMEWORK_ID', value: framework },
      { name: 'MESOS_TASK_ID', value: task.task_id.value },
    ],
    ports: ports.map((port) => ({ port, protocol: 'tcp' })),
    requests: resources,
    limits: { cpuMillis: 0, memoryBytes: resources.memoryBytes, diskBytes: 0, pids: 0 },
    ...(probe && { liveness: probe }),
    restart: 'never',
    stopGraceMs: grace === undefined ? killGraceMs : Math.round(grace / 1e6),
    readOnlyRoot: false,
    labels: labelsOf(task),
  };
}

/** `shell`: the value is a line for `sh`; otherwise a program, whose arguments begin with its own name. */
function wordsOf(command: TaskInfo['command']): Pick<GuestTemplate, 'command' | 'args'> {
  if (!command?.value) return command && command.arguments.length > 0 ? { args: command.arguments } : {};
  if (command.shell) return { command: ['/bin/sh', '-c', command.value] };
  return { command: [command.value], args: command.arguments.slice(1) };
}

function probeOf(check: NonNullable<TaskInfo['health_check']>): Probe {
  const ms = (seconds: number) => Math.max(1, Math.round(seconds * 1_000));
  return {
    check: checkOf(check),
    initialDelayMs: Math.round(Math.max(check.delay_seconds, check.grace_period_seconds) * 1_000),
    periodMs: ms(check.interval_seconds),
    timeoutMs: ms(check.timeout_seconds),
    successThreshold: 1,
    failureThreshold: check.consecutive_failures,
  };
}

function checkOf({ http, tcp, command }: NonNullable<TaskInfo['health_check']>): Probe['check'] {
  if (http) {
    const scheme = http.scheme === 'https' ? 'https' : 'http';
    return { kind: 'http', port: http.port, path: http.path, scheme, headers: [] };
  }
  if (tcp) return { kind: 'tcp', port: tcp.port };
  const words = wordsOf(command);
  if (!words.command) throw new TaskFault('the health check has neither http, tcp nor a command');
  return { kind: 'exec', command: [...words.command, ...(words.args ?? [])] };
}

function labelsOf({ labels }: TaskInfo): Record<string, string> {
  return Object.fromEntries((labels?.labels ?? []).map(({ key, value = '' }) => [key, value]));
}
