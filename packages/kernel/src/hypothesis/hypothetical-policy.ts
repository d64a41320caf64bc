import {
  CloudosError,
  type Decision,
  type NewEvent,
  type Policy,
  type PolicySnapshot,
  type RecordedEvent,
  type ResourcesCommand,
  type SharedEvent,
} from '@cloudos/sdk';
import { callWithin } from '../policy/policy-call.ts';

/** Answers in a row that may each decide something before anything else happens. */
export const roundsMax = 10_000;

export type ResourcesPolicy = Policy<unknown, ResourcesCommand>;

/**
 * A resource manager whose decisions go to a stream in memory that only it sees. What it decides is taken in at once,
 * and told to whoever asked; nothing is kept.
 */
export class HypotheticalPolicy {
  readonly #policy: ResourcesPolicy;
  readonly #name: string;
  readonly #deadlineMs: number;
  #state: unknown;
  #position = 0;
  #revision = 0;
  /** When the policy wants to be asked again, epoch ms. */
  wakeAt: number | undefined;

  constructor(policy: ResourcesPolicy, name: string, deadlineMs: number) {
    this.#policy = policy;
    this.#name = name;
    this.#deadlineMs = deadlineMs;
    this.#state = this.#guard('initial', () => policy.initial());
  }

  get snapshot(): PolicySnapshot<unknown> | undefined {
    return this.#policy.snapshot;
  }

  load(saved: unknown): void {
    this.#state = this.#guard('load', () => this.#policy.snapshot!.load(saved));
  }

  /** Events that happened; nothing is decided. */
  evolve(events: readonly RecordedEvent[]): void {
    if (events.length === 0) return;
    this.#guard('evolve', () => {
      for (const event of events) {
        this.#state = this.#policy.evolve(this.#state, event as SharedEvent);
        this.#position = Math.max(this.#position, event.position);
      }
    });
  }

  /** One reaction. What it decides is in the state when this returns; empty: it rests. */
  react(now: number): readonly RecordedEvent[] {
    const decision: Decision = this.#guard('react', () => this.#policy.react(this.#state, [], now));
    if (!Array.isArray(decision?.events)) throw new TypeError(`${this.#name} answered with no decision`);
    this.wakeAt = decision.wakeAt;
    const recorded = decision.events.map((event) => this.record(event, 'resources', now));
    this.evolve(recorded);
    return recorded;
  }

  /** An event as it would stand in the log. */
  record({ type, data }: NewEvent, stream: string, time: number): RecordedEvent {
    return {
      position: this.#position,
      stream,
      revision: this.#revision++,
      id: '00000000-0000-7000-8000-000000000000',
      type,
      time,
      data,
      meta: { producer: { plugin: this.#name, generation: 1 }, schema: 1 },
    };
  }

  #guard<T>(what: string, call: () => T): T {
    return callWithin(`${this.#name}: ${what}`, this.#deadlineMs, call);
  }
}

/** A policy that never comes to rest. */
export function restless(name: string): CloudosError {
  return new CloudosError('PLUGIN_TIMEOUT', `${name} still decides after ${roundsMax} reactions in a row`);
}
