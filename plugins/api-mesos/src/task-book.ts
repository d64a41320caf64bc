import type { ClusterView, EventData, InstanceView, SharedEvent } from '@cloudos/sdk';
import { Task, type Update } from './task.ts';
import { type TaskManifest, taskKind } from './task-spec.ts';

/** Whether a framework understands that an agent may come back (capability PARTITION_AWARE). */
type Understands = (framework: string, capability: string) => boolean;

/** Every task of every framework, as the shared events tell them. */
export class TaskBook {
  readonly #tasks = new Map<string, Task>();
  readonly #byInstance = new Map<string, Task>();
  readonly #understands: Understands;

  constructor(understands: Understands) {
    this.#understands = understands;
  }

  get(workload: string): Task | undefined {
    return this.#tasks.get(workload);
  }

  get all(): Iterable<Task> {
    return [...this.#tasks.values()];
  }

  of(framework: string): Task[] {
    return [...this.#tasks.values()].filter(({ manifest }) => manifest.framework === framework);
  }

  forget(task: Task): void {
    this.#tasks.delete(task.workload);
    if (task.instance !== undefined) this.#byInstance.delete(task.instance);
  }

  /** Begins with what a view of the cluster says. */
  load({ workloads, instances, time }: ClusterView): void {
    const byWorkload = new Map(instances.map((instance) => [instance.workload, instance]));
    for (const { spec } of workloads) {
      const manifest = manifestOf(spec);
      if (!manifest) continue;
      const task = new Task(spec.workload, manifest, time);
      this.#tasks.set(spec.workload, task);
      const instance = byWorkload.get(spec.workload);
      if (instance) this.#loadInstance(task, instance);
      else task.become(withoutInstance(spec.replicas === 0, time));
    }
  }

  #loadInstance(task: Task, view: InstanceView): void {
    const { instance, node, state, exit, changedTime: at } = view;
    task.instance = instance;
    task.placed = node !== undefined;
    this.#byInstance.set(instance, task);
    if (view.address) task.latest = { ...task.latest, address: view.address.host };
    if (state === 'created') task.become({ state: 'TASK_STARTING', at, source: 'SOURCE_EXECUTOR' });
    if (state === 'running' || state === 'ready') task.become({ state: 'TASK_RUNNING', at, source: 'SOURCE_EXECUTOR' });
    if (state === 'stopping') task.killing = { message: view.reason ?? 'it is being stopped' };
    if (state === 'failed') task.become(failed(at, view.reason ?? 'it could not be started'));
    if (exit) task.become(endOf(task, { ...exit, reason: exit.reason }, at));
  }

  /** Takes in an event of the log. Returns the tasks about which there is something new to tell. */
  take(event: SharedEvent): Task[] {
    const changed = this.#take(event);
    return changed.filter((task) => task !== undefined);
  }

  #take(event: SharedEvent): (Task | undefined)[] {
    switch (event.type) {
      case 'WorkloadDeclared':
        return [this.#declare(event.data, event.time)];
      case 'WorkloadRemoved':
        return [this.#removed(this.#tasks.get(event.data.workload), event.time)];
      case 'InstanceRequested': {
        const task = this.#tasks.get(event.data.workload);
        if (!task) return [];
        task.instance = event.data.instance;
        this.#byInstance.set(event.data.instance, task);
        return [];
      }
      case 'NodeLost':
      case 'NodeLeft':
      case 'NodeJoined':
        return [...this.#tasks.values()]
          .filter(({ manifest }) => manifest.agent === event.data.node)
          .map((task) => this.#node(task, event));
      default: {
        const { instance } = event.data as { instance?: unknown };
        const task = typeof instance === 'string' ? this.#byInstance.get(instance) : undefined;
        return task ? [this.#guest(task, event)] : [];
      }
    }
  }

  #declare(spec: EventData<'WorkloadDeclared'>, at: number): Task | undefined {
    const manifest = manifestOf(spec);
    if (!manifest || this.#tasks.has(spec.workload)) return undefined;
    this.#tasks.set(spec.workload, new Task(spec.workload, manifest, at));
    return undefined;
  }

  /** Its workload is gone: where nothing runs, so is the task. */
  #removed(task: Task | undefined, at: number): Task | undefined {
    if (!task) return undefined;
    task.removed = true;
    task.killing ??= { message: 'it was removed' };
    return task.placed ? task : became(task, killed(task, at));
  }

  #node(task: Task, { type, time: at }: SharedEvent): Task | undefined {
    const back = type === 'NodeJoined';
    if (task.latest.state === 'TASK_UNREACHABLE') {
      const message = back ? 'the agent came back without it' : 'the agent was taken out';
      return became(task, { state: 'TASK_GONE', at, source: 'SOURCE_MASTER', reason: 'REASON_SLAVE_REMOVED', message });
    }
    if (back || !task.placed) return undefined;
    const aware = this.#understands(task.manifest.framework, 'PARTITION_AWARE');
    const lost = {
      at,
      source: 'SOURCE_MASTER' as const,
      reason: 'REASON_SLAVE_REMOVED',
      message: 'the agent does not answer',
    };
    if (type === 'NodeLeft') return became(task, { ...lost, state: aware ? 'TASK_GONE' : 'TASK_LOST' });
    return became(task, { ...lost, state: aware ? 'TASK_UNREACHABLE' : 'TASK_LOST' });
  }

  #guest(task: Task, event: SharedEvent): Task | undefined {
    const { time: at } = event;
    switch (event.type) {
      case 'InstancePlaced':
        task.placed = true;
        return undefined;
      case 'InstancePreempted':
        task.killing = { reason: 'REASON_SLAVE_DRAINING', message: event.data.reason };
        return this.#stopping(task, at);
      case 'InstanceWithdrawn':
        task.killing ??= { message: event.data.reason };
        return task.placed ? this.#stopping(task, at) : became(task, killed(task, at));
      case 'GuestCreated':
        return became(task, { state: 'TASK_STARTING', at, source: 'SOURCE_EXECUTOR' });
      case 'GuestStarted': {
        const address = event.data.address?.host;
        return became(task, {
          state: 'TASK_RUNNING',
          at,
          source: 'SOURCE_EXECUTOR',
          ...(address !== undefined && { address }),
        });
      }
      case 'GuestHealthy':
      case 'GuestUnhealthy': {
        if (event.data.probe !== 'liveness' || task.latest.state !== 'TASK_RUNNING') return undefined;
        const reason = 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED';
        return became(task, {
          state: 'TASK_RUNNING',
          at,
          source: 'SOURCE_EXECUTOR',
          reason,
          healthy: event.type === 'GuestHealthy',
        });
      }
      case 'GuestExited':
        return became(task, endOf(task, event.data, at));
      case 'GuestFailed':
        if (event.data.stage !== 'create' && event.data.stage !== 'start') return undefined;
        return became(task, failed(at, event.data.reason));
      case 'GuestRemoved':
        return became(task, killed(task, at));
      default:
        return undefined;
    }
  }

  #stopping(task: Task, at: number): Task | undefined {
    if (task.latest.state === 'TASK_UNREACHABLE') return undefined;
    if (!this.#understands(task.manifest.framework, 'TASK_KILLING_STATE')) return undefined;
    return became(task, { state: 'TASK_KILLING', at, source: 'SOURCE_EXECUTOR' });
  }
}

function became(task: Task, update: Update): Task | undefined {
  return task.become(update) ? task : undefined;
}

function manifestOf({ kind, manifest }: EventData<'WorkloadDeclared'>): TaskManifest | undefined {
  return kind === taskKind ? (manifest as TaskManifest) : undefined;
}

function killed(task: Task, at: number): Update {
  const { message, reason } = task.killing ?? { message: 'it was removed', reason: undefined };
  return { state: 'TASK_KILLED', at, source: 'SOURCE_EXECUTOR', message, ...(reason !== undefined && { reason }) };
}

function failed(at: number, message: string): Update {
  return { state: 'TASK_FAILED', at, source: 'SOURCE_AGENT', reason: 'REASON_CONTAINER_LAUNCH_FAILED', message };
}

function endOf(task: Task, exit: Omit<EventData<'GuestExited'>, 'instance' | 'node' | 'attempt'>, at: number): Update {
  const { exitCode, signal, reason } = exit;
  if (reason === 'lost') {
    return {
      state: 'TASK_LOST',
      at,
      source: 'SOURCE_AGENT',
      reason: 'REASON_EXECUTOR_TERMINATED',
      message: exit.message ?? 'lost',
    };
  }
  if (task.killing || reason === 'stopped') return killed(task, at);
  const message = signal ? `Command terminated with signal ${signal}` : `Command exited with status ${exitCode}`;
  if (exitCode === 0) return { state: 'TASK_FINISHED', at, source: 'SOURCE_EXECUTOR', message };
  const why = reason === 'oom-killed' ? 'REASON_CONTAINER_LIMITATION_MEMORY' : 'REASON_COMMAND_EXECUTOR_FAILED';
  return { state: 'TASK_FAILED', at, source: 'SOURCE_EXECUTOR', reason: why, message };
}

/** A task of whose instance nothing is left: it was killed, or lost with its agent. */
function withoutInstance(killed: boolean, at: number): Update {
  if (killed) return { state: 'TASK_KILLED', at, source: 'SOURCE_EXECUTOR', message: 'it was killed' };
  return {
    state: 'TASK_LOST',
    at,
    source: 'SOURCE_MASTER',
    reason: 'REASON_SLAVE_REMOVED',
    message: 'nothing of it is left',
  };
}
