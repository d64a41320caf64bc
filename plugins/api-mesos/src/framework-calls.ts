import { type ApiContext, messageOf } from '@cloudos/sdk';
import type { CallOf } from './calls.ts';
import type { MesosApiConfig } from './config.ts';
import type { FrameworkStream } from './framework-stream.ts';
import type { KnownFramework } from './frameworks.ts';
import { invalid, planOperations } from './operations.ts';
import { asPolicyEvent } from './policy-events.ts';
import type { Scheduler } from './scheduler.ts';
import type { Task, Update } from './task.ts';

/** What frameworks call becomes commands to the policies. Calls of one framework come one after another. */
export class FrameworkCalls {
  readonly #scheduler: Scheduler;
  readonly #context: Pick<ApiContext, 'kernel' | 'clock' | 'logger'>;
  readonly #config: MesosApiConfig;
  /** Workloads that are being declared: their launches have been accepted. */
  readonly #launching = new Set<string>();

  constructor(scheduler: Scheduler, context: Pick<ApiContext, 'kernel' | 'clock' | 'logger'>, config: MesosApiConfig) {
    this.#scheduler = scheduler;
    this.#context = context;
    this.#config = config;
  }

  /** @throws CloudosError what the resource manager says against it */
  async subscribe(
    id: string,
    known: boolean,
    { subscribe }: CallOf<'SUBSCRIBE'>,
    open: () => FrameworkStream,
  ): Promise<void> {
    const { framework_info: info, suppressed_roles: suppressed } = subscribe;
    const capabilities = info.capabilities.map(({ type }) => type);
    const roles = info.roles && info.roles.length > 0 ? info.roles : [info.role ?? '*'];
    const framework = this.#scheduler.framework(id);
    try {
      await this.#scheduler.command('Subscribe', {
        framework: id,
        known,
        name: info.name,
        user: info.user,
        roles,
        suppressed,
        failoverTimeoutMs: Math.round(info.failover_timeout * 1_000),
        capabilities,
        ...(info.principal !== undefined && { principal: info.principal }),
      });
    } catch (error) {
      if (!known) this.#scheduler.frameworks.delete(id);
      throw error;
    }
    framework.stream?.end('Framework failed over');
    framework.stream = open();
    const subscribed = {
      framework_id: { value: id },
      heartbeat_interval_seconds: this.#config.heartbeatIntervalMs / 1_000,
    };
    framework.stream.send({ type: 'SUBSCRIBED', subscribed });
    for (const task of this.#scheduler.tasks.of(id)) {
      task.again();
      this.#scheduler.tell(task);
    }
  }

  /** Its connection has ended. */
  async disconnected(framework: KnownFramework, stream: FrameworkStream): Promise<void> {
    if (framework.stream !== stream) return;
    framework.stream = undefined;
    await this.disconnect(framework);
  }

  async disconnect({ id, connected }: KnownFramework): Promise<void> {
    if (connected) return;
    await this.#scheduler
      .command('Disconnect', { framework: id })
      .catch((error: unknown) => this.#context.logger.debug(`disconnecting ${id}: ${messageOf(error)}`));
  }

  async teardown({ id }: KnownFramework): Promise<void> {
    await this.#scheduler.command('Teardown', { framework: id });
  }

  async decline(framework: KnownFramework, { decline }: CallOf<'DECLINE'>): Promise<void> {
    const offers = decline.offer_ids.map(({ value }) => value);
    for (const offer of offers) framework.offers.delete(offer);
    await this.#scheduler.command('Decline', {
      framework: framework.id,
      offers,
      refuseMs: decline.filters.refuse_seconds * 1_000,
    });
  }

  async revive({ id }: KnownFramework, name: 'Revive' | 'Suppress', roles: readonly string[]): Promise<void> {
    await this.#scheduler.command(name, { framework: id, roles });
  }

  /** Launches tasks and sets resources aside. What cannot be is told by updates, as Mesos does. */
  async accept(framework: KnownFramework, { accept }: CallOf<'ACCEPT'>): Promise<void> {
    const offers = accept.offer_ids.map(({ value }) => value);
    const first = framework.offers.get(offers[0]!);
    const { clock } = this.#context;
    const plan = planOperations(accept.operations, {
      framework: framework.id,
      role: first?.role ?? '*',
      node: first?.node ?? '',
      image: this.#config.image,
      now: clock.now(),
      known: (workload) => this.#scheduler.tasks.get(workload) !== undefined || this.#launching.has(workload),
    });
    const refuseMs = accept.filters.refuse_seconds * 1_000;
    if (!first) return this.#drop(framework, accept.operations, 'an offer is not valid any more', offers);
    for (const { task, update } of plan.faults)
      this.#scheduler.status(framework, task.task_id.value, task.agent_id.value, update);
    for (const offer of offers) framework.offers.delete(offer);
    let launched: ReadonlySet<string>;
    try {
      const { events } = await this.#scheduler.command('Accept', {
        framework: framework.id,
        offers,
        operations: plan.operations,
        refuseMs,
      });
      launched = launchedBy(events);
    } catch (error) {
      return this.#drop(framework, accept.operations, messageOf(error), offers);
    }
    for (const [workload, { task, spec }] of plan.specs) {
      if (launched.has(workload)) await this.#declare(framework, workload, task, spec);
      else {
        const update = invalid('the task asks for more than is left of the offer', clock.now());
        this.#scheduler.status(framework, task.task_id.value, task.agent_id.value, update);
      }
    }
  }

  async #declare(
    framework: KnownFramework,
    workload: string,
    { task_id, agent_id }: { task_id: { value: string }; agent_id: { value: string } },
    spec: unknown,
  ): Promise<void> {
    this.#launching.add(workload);
    try {
      const command = { type: 'Declare', spec } as never;
      await this.#context.kernel.command({ slot: 'orchestrator', command });
    } catch (error) {
      const message = `no instance was requested: ${messageOf(error)}`;
      this.#context.logger.warn(`${workload}: ${message}`);
      await this.#scheduler
        .command('Release', { framework: framework.id, workloads: [workload], reason: message })
        .catch(() => {});
      this.#scheduler.status(framework, task_id.value, agent_id.value, invalid(message, this.#context.clock.now()));
    } finally {
      this.#launching.delete(workload);
    }
  }

  /** Offers that are not valid: the tasks are dropped, and what is left of the offers is free. */
  async #drop(
    framework: KnownFramework,
    operations: CallOf<'ACCEPT'>['accept']['operations'],
    message: string,
    offers: string[],
  ): Promise<void> {
    const state = framework.capabilities.has('PARTITION_AWARE') ? 'TASK_DROPPED' : 'TASK_LOST';
    const update: Update = {
      ...{ state, at: this.#context.clock.now(), source: 'SOURCE_MASTER', message },
      reason: 'REASON_INVALID_OFFERS',
    };
    for (const operation of operations) {
      const tasks =
        operation.type === 'LAUNCH'
          ? operation.launch.task_infos
          : operation.type === 'LAUNCH_GROUP'
            ? operation.launch_group.task_group.tasks
            : [];
      for (const { task_id, agent_id } of tasks)
        this.#scheduler.status(framework, task_id.value, agent_id.value, update);
    }
    await this.#scheduler.command('Decline', { framework: framework.id, offers, refuseMs: 0 });
  }

  /** The instance is stopped; the workload stays until the end of the task is acknowledged. */
  async kill(framework: KnownFramework, { kill }: CallOf<'KILL'>): Promise<void> {
    const name = kill.task_id.value;
    const task = this.#scheduler.tasks.of(framework.id).find(({ manifest }) => manifest.task === name);
    if (!task) return this.#unknown(framework, name, kill.agent_id?.value);
    if (task.ended || task.removed) return;
    task.killing = { message: 'killed by its framework' };
    const command = { type: 'Scale', workload: task.workload, replicas: 0 } as const;
    await this.#context.kernel.command({ slot: 'orchestrator', command });
  }

  /** A task whose end is acknowledged is removed. */
  async acknowledge(framework: KnownFramework, { acknowledge }: CallOf<'ACKNOWLEDGE'>): Promise<void> {
    const name = acknowledge.task_id.value;
    const task = this.#scheduler.tasks.of(framework.id).find(({ manifest }) => manifest.task === name);
    if (!task?.acknowledge(acknowledge.uuid)) return;
    if (!task.settled) return this.#scheduler.tell(task);
    if (task.removed) this.#scheduler.tasks.forget(task);
    else await this.#scheduler.remove(task.workload);
  }

  reconcile(framework: KnownFramework, { reconcile }: CallOf<'RECONCILE'>): void {
    const tasks = new Map(this.#scheduler.tasks.of(framework.id).map((task) => [task.manifest.task, task]));
    const about = (task: Task) => {
      const { reason: _, ...latest } = task.latest;
      const update: Update = { ...latest, source: 'SOURCE_MASTER', reason: 'REASON_RECONCILIATION' };
      this.#scheduler.status(framework, task.manifest.task, task.manifest.agent, update);
    };
    if (reconcile.tasks.length === 0) return tasks.forEach(about);
    for (const { task_id, agent_id } of reconcile.tasks) {
      const task = tasks.get(task_id.value);
      if (task) about(task);
      else this.#unknown(framework, task_id.value, agent_id?.value);
    }
  }

  #unknown(framework: KnownFramework, task: string, agent: string | undefined): void {
    const state = framework.capabilities.has('PARTITION_AWARE') ? 'TASK_UNKNOWN' : 'TASK_LOST';
    const at = this.#context.clock.now();
    const message = 'Task is unknown';
    this.#scheduler.status(framework, task, agent, {
      state,
      at,
      source: 'SOURCE_MASTER',
      reason: 'REASON_RECONCILIATION',
      message,
    });
  }
}

function launchedBy(events: readonly { readonly type: string; readonly data: unknown }[]): ReadonlySet<string> {
  const names = events.flatMap((event) => {
    const own = asPolicyEvent(event);
    return own?.name === 'OffersAccepted' ? own.data.launches.map(({ workload }) => workload) : [];
  });
  return new Set(names);
}
