import { event, type NewEvent } from '@cloudos/sdk';
import type { KubernetesOptions } from './options.ts';
import { type Group, type Instance, localName, type State, type Workload } from './state.ts';

/** What one reaction decides, collected: withdrawals and requests are counted against its limit. */
export class Plan {
  readonly now: number;
  readonly withdrawn = new Set<Instance>();
  readonly #options: KubernetesOptions;
  readonly #state: State;
  readonly #withdrawals: NewEvent[] = [];
  readonly #requests: NewEvent[] = [];
  readonly #rollouts: NewEvent[] = [];
  readonly #restarts: NewEvent[] = [];
  readonly #names = new Set<string>();
  #room: number;
  /** Whether something had to be left for the next reaction. */
  cut = false;

  constructor(state: State, options: KubernetesOptions, now: number) {
    this.now = now;
    this.#state = state;
    this.#options = options;
    this.#room = options.changesPerReactMax;
  }

  get room(): number {
    return this.#room;
  }

  /** How much has been decided so far. */
  get size(): number {
    return this.#withdrawals.length + this.#requests.length + this.#rollouts.length + this.#restarts.length;
  }

  #take(): boolean {
    if (this.#room > 0) {
      this.#room--;
      return true;
    }
    this.cut = true;
    return false;
  }

  withdraw(instance: Instance, reason: string): boolean {
    if (this.withdrawn.has(instance)) return true;
    if (!this.#take()) return false;
    this.withdrawn.add(instance);
    const serving = instance.ready && instance.group.services.length > 0;
    this.#withdrawals.push(
      event('InstanceWithdrawn', {
        instance: instance.id,
        reason,
        drainMs: serving ? this.#options.drainMs : 0,
        graceMs: instance.group.part.template.stopGraceMs,
      }),
    );
    return true;
  }

  /** @param ordinals how many of the workload this plan has requested before */
  request(group: Group, count: number, ordinals: number): number {
    let made = 0;
    while (made < count && this.#take()) {
      this.#requests.push(this.#requestOf(group, group.workload.requested + ordinals + made));
      made++;
    }
    return made;
  }

  #requestOf(group: Group, ordinal: number): NewEvent {
    return event('InstanceRequested', { instance: this.#nameOf(group, ordinal), ...group.request });
  }

  /**
   * `<name>-<hash>-<ordinal>`, as pods of a Deployment are named, with an ordinal that is never used again where
   * Kubernetes has a random part. A bare pod is called what it is called; its successors get a suffix.
   */
  #nameOf({ workload, hash }: Group, ordinal: number): string {
    const name = localName(workload.spec.workload);
    if (workload.spec.kind !== 'Pod') return `${name}-${hash}-${ordinal.toString(36)}`;
    let chosen = name;
    for (let suffix = 1; this.#state.usedNames.has(chosen) || this.#names.has(chosen); suffix++) {
      chosen = `${name}-${suffix.toString(36)}`;
    }
    this.#names.add(chosen);
    return chosen;
  }

  restart(instance: Instance): void {
    if (!this.#take()) return;
    const attempt = Math.max(instance.attempt, 1) + 1;
    this.#restarts.push(
      event('InstanceRestartOrdered', { instance: instance.id, attempt, reason: instance.dueReason }),
    );
  }

  rollout(
    workload: Workload,
    phase: 'progressing' | 'complete' | 'stalled',
    counts: { updated: number; ready: number },
    message?: string,
  ): void {
    const { workload: name, revision, replicas: wanted } = workload.spec;
    const data = { workload: name, revision, phase, ...counts, wanted };
    this.#rollouts.push(event('RolloutAdvanced', message === undefined ? data : { ...data, message }));
  }

  /** In the order in which it must happen: out of the services first, then stopped. */
  events(endpoints: readonly NewEvent[]): NewEvent[] {
    return [...endpoints, ...this.#rollouts, ...this.#withdrawals, ...this.#requests, ...this.#restarts];
  }
}
