import { type ApiContext, messageOf, type SharedEvent } from '@cloudos/sdk';
import type { MesosApiConfig } from './config.ts';
import { KnownFramework } from './frameworks.ts';
import { type AgentFacts, offerJson, unavailabilityJson } from './offer-json.ts';
import { asPolicyEvent, type PolicyEvent, type PolicyEvents, policyCommand } from './policy-events.ts';
import { statusOf, type Task, type Update } from './task.ts';
import { TaskBook } from './task-book.ts';

type Context = Pick<ApiContext, 'kernel' | 'clock' | 'logger'>;

/**
 * Between frameworks and the policies: what the log says becomes events for frameworks, what frameworks call becomes
 * commands. It remembers nothing that does not follow from the log, except for what was acknowledged.
 */
export class Scheduler {
  readonly frameworks = new Map<string, KnownFramework>();
  readonly tasks: TaskBook;
  readonly agents = new Map<string, AgentFacts>();
  readonly #context: Context;
  readonly #config: MesosApiConfig;
  constructor(context: Context, config: MesosApiConfig) {
    this.#context = context;
    this.#config = config;
    this.tasks = new TaskBook(
      (framework, capability) => this.frameworks.get(framework)?.capabilities.has(capability) === true,
    );
  }

  framework(id: string): KnownFramework {
    let framework = this.frameworks.get(id);
    if (!framework) {
      framework = new KnownFramework(id);
      this.frameworks.set(id, framework);
    }
    return framework;
  }

  /** Takes in an event of the log. @param live whether frameworks are to be told */
  take(event: SharedEvent, live: boolean): void {
    const own = asPolicyEvent(event);
    if (own) return this.#takeOwn(own, live);
    if (event.type === 'NodeJoined') {
      this.agents.set(event.data.node, { node: event.data.node, attributes: event.data.attributes });
    }
    for (const task of this.tasks.take(event)) if (live) this.tell(task);
    if (event.type === 'WorkloadRemoved') {
      const task = this.tasks.get(event.data.workload);
      if (task?.settled) this.tasks.forget(task);
    }
  }

  #takeOwn({ name, data }: PolicyEvent, live: boolean): void {
    switch (name) {
      case 'FrameworkSubscribed': {
        const framework = this.framework(data.framework);
        framework.name = data.name;
        framework.capabilities = new Set(data.capabilities);
        framework.active = true;
        framework.offers.clear();
        return;
      }
      case 'FrameworkDisconnected':
        this.framework(data.framework).active = false;
        return;
      case 'FrameworkRemoved':
        return this.#removed(data, live);
      case 'OffersMade':
        return this.#offer(data, live);
      case 'OffersRescinded': {
        const framework = this.framework(data.framework);
        for (const offer of data.offers) {
          if (framework.offers.delete(offer) && live) {
            framework.stream?.send({ type: 'RESCIND', rescind: { offer_id: { value: offer } } });
          }
        }
        return;
      }
      case 'LaunchesReleased':
        if (live) for (const workload of data.workloads) void this.#released(workload, data);
        return;
      case 'InverseOffersMade':
        if (live) for (const offer of data.offers) this.#inverse(offer);
        return;
      case 'InverseOffersRescinded':
        if (!live) return;
        for (const offer of data.offers) {
          const rescind = { inverse_offer_id: { value: offer } };
          this.framework(data.framework).stream?.send({
            type: 'RESCIND_INVERSE_OFFER',
            rescind_inverse_offer: rescind,
          });
        }
    }
  }

  #offer({ offers }: PolicyEvents['OffersMade'], live: boolean): void {
    const byFramework = new Map<KnownFramework, object[]>();
    for (const offer of offers) {
      const framework = this.framework(offer.framework);
      framework.offers.set(offer.offer, { node: offer.node, role: offer.role });
      const facts = this.agents.get(offer.node) ?? { node: offer.node, attributes: {} };
      byFramework.set(framework, [...(byFramework.get(framework) ?? []), offerJson(offer, facts)]);
    }
    if (!live) return;
    for (const [{ stream }, each] of byFramework) stream?.send({ type: 'OFFERS', offers: { offers: each } });
  }

  #inverse({ offer, framework, node, unavailability }: PolicyEvents['InverseOffersMade']['offers'][number]): void {
    const inverse = {
      id: { value: offer },
      framework_id: { value: framework },
      agent_id: { value: node },
      unavailability: unavailabilityJson(unavailability),
    };
    const event = { type: 'INVERSE_OFFERS', inverse_offers: { inverse_offers: [inverse] } };
    this.framework(framework).stream?.send(event);
  }

  #removed({ framework: id, reason }: PolicyEvents['FrameworkRemoved'], live: boolean): void {
    const framework = this.frameworks.get(id);
    this.frameworks.delete(id);
    if (!live) return;
    framework?.stream?.end(`Framework has been removed: ${reason}`);
    void this.#clear(id);
  }

  /** A framework that is gone leaves no tasks. */
  async #clear(id: string): Promise<void> {
    for (const { workload, removed } of this.tasks.of(id)) if (!removed) await this.remove(workload);
  }

  /** Tasks of frameworks that are not there any more: what was not cleared up before a restart. */
  async clearForgotten(): Promise<void> {
    for (const task of this.tasks.all) {
      if (!this.frameworks.has(task.manifest.framework) && !task.removed) await this.remove(task.workload);
    }
  }

  /** A launch of which there was no instance in time. */
  async #released(workload: string, { framework: id, reason }: PolicyEvents['LaunchesReleased']): Promise<void> {
    const framework = this.framework(id);
    const task = this.tasks.get(workload);
    const state = framework.capabilities.has('PARTITION_AWARE') ? 'TASK_DROPPED' : 'TASK_LOST';
    const update: Update = {
      ...{ state, at: this.#context.clock.now(), source: 'SOURCE_MASTER', message: reason },
      reason: 'REASON_INVALID_OFFERS',
    };
    if (task?.become(update)) this.tell(task);
    else if (!task) this.status(framework, workload.slice(id.length + 1), undefined, update);
  }

  /** Sends what waits for an acknowledgement and is due. */
  retry(): void {
    for (const task of this.tasks.all) this.tell(task);
  }

  /** Sends the update that waits, if it is due. */
  tell(task: Task): void {
    const framework = this.frameworks.get(task.manifest.framework);
    if (!framework?.connected) return;
    const { updateRetryMs, updateRetryMaxMs } = this.#config;
    if (!task.due(this.#context.clock.now(), updateRetryMs, updateRetryMaxMs)) return;
    const { update, uuid } = task.head!;
    this.status(framework, task.manifest.task, task.manifest.agent, update, uuid);
  }

  /** Tells a framework of a task. */
  status(framework: KnownFramework, task: string, agent: string | undefined, update: Update, uuid?: string): void {
    framework.stream?.send({ type: 'UPDATE', update: { status: statusOf(task, agent, update, uuid) } });
  }

  async remove(workload: string): Promise<void> {
    try {
      await this.#context.kernel.command({ slot: 'orchestrator', command: { type: 'Remove', name: workload } });
    } catch (error) {
      this.#context.logger.warn(`removing ${workload}: ${messageOf(error)}`);
    }
  }

  /** Asks the resource manager. */
  command(name: string, request: object) {
    return this.#context.kernel.command(policyCommand(name, request));
  }
}
