import type { Refusal } from './errors.ts';
import type { NewEvent } from './event.ts';
import type { SharedEvent } from './events/index.ts';

/**
 * A pure, synchronous decider: no clock, no randomness, no I/O. It owns one decision stream.
 *
 * The kernel evolves the state with every event of the log in order, the policy's own included, and calls `react`
 * after each batch. All events that `react` or `decide` returns are appended in one atomic append that says how far
 * the policy had read (`meta.causation`). The next `react` sees them evolved: what was decided is never decided twice,
 * provided that `react` decides from the state (what is pending) and not from the batch.
 */
export interface Policy<State = unknown, Command = unknown> {
  initial(): State;
  /** The only way state changes. May update in place and return the same object. Unknown types are ignored. */
  evolve(state: State, event: SharedEvent): State;
  /**
   * What follows from the state. `events` are those since the last call; empty when woken by `wakeAt`.
   * Must not change the state.
   * @param now epoch milliseconds
   */
  react(state: State, events: readonly SharedEvent[], now: number): Decision;
  /** Answers a command. Must not change the state. */
  decide(state: State, command: Command, now: number): Decision | Refusal;
  /** What the policy wants to be told beside what is told anyway. */
  readonly asks?: {
    /** GuestUsageEstimated: a resource manager that lends what is reserved and not used. */
    readonly guestUsage?: boolean;
  };
  /** Lets a restart skip the events before a snapshot. `version` changes when the saved shape does. */
  readonly snapshot?: PolicySnapshot<State>;
}

export interface PolicySnapshot<State> {
  readonly version: number;
  /** Plain data, detached from the state: later evolution must not change it. */
  save(state: State): unknown;
  load(saved: unknown): State;
}

export interface Decision {
  /** Appended to the policy's own stream, all or none. */
  readonly events: readonly NewEvent[];
  /** Call `react` again at this time (epoch milliseconds) even if nothing happens. */
  readonly wakeAt?: number;
  /** For the sender of a command: what was ignored or may surprise. */
  readonly warnings?: readonly string[];
}

export const nothing: Decision = { events: [] };
