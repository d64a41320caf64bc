import type { RecordedEvent, SharedEvent } from '@cloudos/sdk';
import { type Application, type YarnConfig, YarnState, yarnConfig } from '@cloudos/yarn-scheduler';

/** An application as the REST API tells of it, from its submission to a while after its end. */
export interface ApplicationRecord {
  readonly id: string;
  readonly name: string;
  readonly user: string;
  readonly order: number;
  queue: string;
  readonly startedTime: number;
  launchTime: number;
  finishedTime: number;
  /** Undefined when it has ended. */
  application: Application | undefined;
  /** What was preempted of it, over its life. */
  preempted: number;
  preemptedMemoryBytes: number;
  preemptedCpuMillis: number;
  /** Summed up to {@link accountedAt}: memory and cores held, by seconds. */
  memoryByteSeconds: number;
  cpuMilliSeconds: number;
  accountedAt: number;
  tags: readonly string[];
}

/**
 * What a ResourceManager would know: the scheduler's own state, made from the same events, and the history of
 * applications. Bounded: of those that have ended only the latest are kept.
 */
export class ResourceManager {
  readonly state: YarnState;
  readonly applications = new Map<string, ApplicationRecord>();
  readonly #byName = new Map<string, ApplicationRecord>();
  readonly #completedMax: number;
  /** Epoch ms of the first event: the cluster's own time stamp, part of every application id. */
  startedAt = 0;
  /** Everything up to here is taken in. */
  position = -1;
  completed = 0;
  #now = 0;

  /** @param config of the scheduler: what a stack file gives resources-yarn; the defaults for another manager */
  constructor(config: unknown, completedMax: number) {
    const parsed = yarnConfig.safeParse(config);
    this.state = new YarnState(parsed.success ? parsed.data : (yarnConfig.parse({}) as YarnConfig));
    this.#completedMax = completedMax;
  }

  take(events: readonly RecordedEvent[]): void {
    for (const event of events) {
      if (event.position <= this.position) continue;
      this.#take(event as SharedEvent);
      this.position = event.position;
    }
  }

  /** Brings what is summed over time up to a moment. */
  account(record: ApplicationRecord, now: number): void {
    const { application } = record;
    const seconds = Math.max(0, now - record.accountedAt) / 1_000;
    record.accountedAt = Math.max(record.accountedAt, now);
    if (!application) return;
    record.memoryByteSeconds += application.memory * seconds;
    record.cpuMilliSeconds += application.cpu * seconds;
  }

  #take(event: SharedEvent): void {
    if (this.startedAt === 0) this.startedAt = event.time;
    this.#now = event.time;
    const name = this.#applicationOf(event);
    const record = name === undefined ? undefined : this.#byName.get(name);
    if (record) this.account(record, event.time);
    if (event.type === 'InstancePreempted' && record) this.#countPreempted(record, event.data.instance);
    const lost = event.type === 'NodeLost' || event.type === 'NodeLeft';
    if (lost) for (const each of this.#byName.values()) this.account(each, event.time);
    this.state.apply(event);
    if (event.type === 'InstanceRequested') this.#submit(event.data.workload, event.data.tags ?? []);
    if (event.type === 'InstancePlaced' && record && record.launchTime === 0) record.launchTime = event.time;
    if (record) this.#endIfGone(record);
    if (lost) for (const each of [...this.#byName.values()]) this.#endIfGone(each);
  }

  #applicationOf({ type, data }: SharedEvent): string | undefined {
    if (type === 'InstanceRequested') return data.workload;
    const instance = (data as { instance?: unknown }).instance;
    if (typeof instance !== 'string') return undefined;
    return this.state.cluster.instances.get(instance)?.workload.name;
  }

  #submit(name: string, tags: readonly string[]): void {
    const application = this.state.applications.get(name);
    if (!application || this.#byName.has(name)) return;
    const id = `application_${this.startedAt}_${String(application.order + 1).padStart(4, '0')}`;
    const record: ApplicationRecord = {
      id,
      name,
      user: application.user,
      order: application.order,
      queue: application.queue?.path ?? 'root',
      startedTime: this.#now,
      launchTime: 0,
      finishedTime: 0,
      application,
      preempted: 0,
      preemptedMemoryBytes: 0,
      preemptedCpuMillis: 0,
      memoryByteSeconds: 0,
      cpuMilliSeconds: 0,
      accountedAt: this.#now,
      tags,
    };
    this.applications.set(id, record);
    this.#byName.set(name, record);
  }

  #countPreempted(record: ApplicationRecord, instance: string): void {
    const found = this.state.cluster.instances.get(instance);
    if (!found) return;
    record.preempted++;
    record.preemptedCpuMillis += found.shape.cpu;
    record.preemptedMemoryBytes += found.shape.memory;
  }

  #endIfGone(record: ApplicationRecord): void {
    if (record.application?.queue) record.queue = record.application.queue.path;
    if (this.state.applications.get(record.name) === record.application) return;
    record.application = undefined;
    record.finishedTime = this.#now;
    this.#byName.delete(record.name);
    // the latest ended goes to the end, so that the first ended are forgotten first
    this.applications.delete(record.id);
    this.applications.set(record.id, record);
    this.completed++;
    this.#forget();
  }

  #forget(): void {
    let ended = this.applications.size - this.#byName.size;
    for (const record of this.applications.values()) {
      if (ended <= this.#completedMax) return;
      if (record.application) continue;
      this.applications.delete(record.id);
      ended--;
    }
  }
}
