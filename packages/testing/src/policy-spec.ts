import { isDeepStrictEqual } from 'node:util';
import type { ErrorCode, NewEvent, Policy, RecordedEvent, Refusal } from '@cloudos/sdk';
import { assertEvents, eventMatches, fail, matches, show } from './policy-spec-match.ts';
import { PolicyRun } from './policy-spec-run.ts';

/** A moment of the virtual clock, epoch milliseconds. */
export interface Moment {
  readonly at: number;
}

/** Lets the virtual clock go on to that time, waking the policy whenever it asked for it. */
export function at(timeMs: number): Moment {
  return { at: timeMs };
}

/** What `then` expects of a command that is refused. */
export function refused(code: ErrorCode, message?: string | RegExp): ExpectedRefusal {
  return message === undefined ? { refused: { code } } : { refused: { code, message } };
}

export interface ExpectedRefusal {
  readonly refused: { readonly code: ErrorCode; readonly message?: string | RegExp };
}

export type Events = NewEvent | readonly NewEvent[];

export interface PolicySpecOptions {
  /** Where the virtual clock stands at first (default 0). */
  readonly startMs?: number;
  /** The policy's decision stream (default: the one its events belong to). */
  readonly stream?: string;
}

/** How many places of the log `verifyReplay` snapshots at, at most; spread evenly over longer logs. */
export const replayCutsMax = 64;

/**
 * Given/when/then for a policy, with any test runner: failures are `AssertionError`s.
 *
 * ```ts
 * policySpec(policy)
 *   .given(nodeJoined('n1'))
 *   .when(instanceRequested('a'))
 *   .then(instancePlaced('a', 'n1'))
 *   .verifyReplay();
 * ```
 */
export function policySpec<State, Command>(
  policy: Policy<State, Command>,
  options: PolicySpecOptions = {},
): PolicySpec<State, Command> {
  return new PolicySpec(policy, options);
}

export class PolicySpec<State, Command> {
  readonly #policy: Policy<State, Command>;
  readonly #options: PolicySpecOptions;
  readonly #run: PolicyRun<State, Command>;

  constructor(policy: Policy<State, Command>, options: PolicySpecOptions) {
    this.#policy = policy;
    this.#options = options;
    this.#run = this.#fresh();
  }

  /** The running log, decisions included. */
  get log(): readonly RecordedEvent[] {
    return this.#run.log;
  }

  get state(): State {
    return this.#run.state;
  }

  get now(): number {
    return this.#run.now;
  }

  /** When the policy wants to be woken; undefined when it does not. */
  get wakeAt(): number | undefined {
    return this.#run.wakeAt;
  }

  /** What was decided since the last `when` began. */
  get decided(): readonly RecordedEvent[] {
    return this.#run.outcome.events;
  }

  get warnings(): readonly string[] {
    return this.#run.outcome.warnings;
  }

  get refusal(): Refusal | undefined {
    return this.#run.outcome.refusal;
  }

  /** What happened before: events of others and of the policy itself. The state evolves, nobody reacts. */
  given(...events: Events[]): this {
    this.#run.history(events.flat());
    return this;
  }

  /**
   * What happens now. Neighbouring events are one batch; a command is decided; `at` lets time pass. An event with a
   * `time` lets it pass as well. What was decided before is forgotten: `then` is about this `when`.
   */
  when(...steps: (Events | Command | Moment)[]): this {
    this.#run.outcome = { events: [], warnings: [], refusal: undefined };
    let batch: NewEvent[] = [];
    const flush = () => {
      if (batch.length > 0) this.#run.events(batch);
      batch = [];
    };
    for (const step of steps) {
      if (isEvents(step)) {
        batch.push(...[step].flat());
        continue;
      }
      flush();
      if (isMoment(step)) this.#run.time(step.at);
      else this.#run.command(step);
    }
    flush();
    return this;
  }

  /**
   * Exactly these decisions in this order, or a refusal. Data is compared as far as it is given: objects may have
   * more, arrays not; a function in its place is a predicate, a regular expression is tested.
   */
  // biome-ignore lint/suspicious/noThenProperty: the word that given/when/then specifications use
  then(...expected: (NewEvent | readonly NewEvent[] | ExpectedRefusal)[]): this {
    if (expected.some((item) => typeof item === 'function')) throw new Error('a policySpec is synchronous: no await');
    const refusals = expected.filter(isExpectedRefusal);
    if (refusals[0]) return this.thenRefused(refusals[0].refused.code, refusals[0].refused.message);
    this.#assertTaken();
    assertEvents(this.decided, (expected as Events[]).flat());
    return this;
  }

  /** These decisions are among those made, in any order. */
  thenIncludes(...expected: Events[]): this {
    this.#assertTaken();
    for (const want of expected.flat()) {
      if (this.decided.some((event) => eventMatches(event, want))) continue;
      const made = this.decided.map((event) => `  + ${show(event.type, event.data)}`).join('\n');
      fail(`not decided: ${show(want.type, want.data)}\ndecided:\n${made}`, this.decided, want);
    }
    return this;
  }

  /** No decision and no refusal. */
  thenNothing(): this {
    return this.then();
  }

  /** The last command was refused with that code; `message` is a part of the reason or a pattern. */
  thenRefused(code: ErrorCode, message?: string | RegExp): this {
    const refusal = this.refusal?.refused;
    if (!refusal) {
      const made = this.decided.map((event) => `  + ${show(event.type, event.data)}`).join('\n');
      fail(`expected a refusal ${code}, the policy decided:\n${made || '  nothing'}`, this.decided, code);
    }
    if (refusal.code !== code) fail(`refused with ${refusal.code}: ${refusal.message}`, refusal.code, code);
    const said = typeof message === 'string' ? refusal.message.includes(message) : matches(refusal.message, message);
    if (message !== undefined && !said) {
      fail(`refused with another reason: ${refusal.message}`, refusal.message, message);
    }
    return this;
  }

  /** The sender of the last command was warned of each of these, and of nothing else. */
  thenWarned(...expected: (string | RegExp)[]): this {
    const missing = expected.filter(
      (want) =>
        !this.warnings.some((warning) => (typeof want === 'string' ? warning.includes(want) : want.test(warning))),
    );
    if (missing.length > 0 || this.warnings.length !== expected.length) {
      fail(`warnings differ:\n  ${this.warnings.join('\n  ') || 'none'}`, this.warnings, expected);
    }
    return this;
  }

  /** The policy wants to be woken at that time; undefined: not at all. */
  thenWakeAt(timeMs: number | undefined): this {
    if (this.wakeAt !== timeMs) fail(`wakeAt is ${this.wakeAt}, expected ${timeMs}`, this.wakeAt, timeMs);
    return this;
  }

  /**
   * Proves on this history that the policy is pure: the same inputs give the same decisions again; a policy that
   * reads the log decides nothing a second time; `react` changes no state; a snapshot taken anywhere, loaded and
   * evolved with the rest is the same state, and later events do not change what was saved.
   */
  verifyReplay(): this {
    this.#verifyRepeat();
    this.#verifyRestart();
    if (this.#policy.snapshot) this.#verifySnapshots(this.#policy.snapshot);
    return this;
  }

  #verifyRepeat(): void {
    const again = this.#fresh();
    again.repeat(this.#run.inputs);
    const [first, second] = [this.#run.log, again.log];
    const differs = first.findIndex((event, index) => !isDeepStrictEqual(event, second[index]));
    if (differs >= 0 || first.length !== second.length) {
      const index = differs >= 0 ? differs : first.length;
      fail(`the same inputs gave another log, first at position ${index}`, second[index], first[index]);
    }
  }

  #verifyRestart(): void {
    const { state } = this.#replayed(this.#run.log.length);
    const before = this.#policy.snapshot && structuredClone(this.#policy.snapshot.save(state));
    const live = this.#policy.react(this.#run.state, [], this.#run.now);
    const restarted = this.#policy.react(state, [], this.#run.now);
    if (!isDeepStrictEqual(restarted.events, live.events)) {
      fail('a policy that read the log decides otherwise than the one that lived it', restarted.events, live.events);
    }
    if (this.#run.settled && restarted.events.length > 0) {
      fail('after a restart the policy decides again what the log already says', restarted.events, []);
    }
    if (before !== undefined && !isDeepStrictEqual(this.#policy.snapshot?.save(state), before)) {
      fail('react changed the state', this.#policy.snapshot?.save(state), before);
    }
  }

  #verifySnapshots(snapshot: NonNullable<Policy<State, Command>['snapshot']>): void {
    const { log } = this.#run;
    const end = snapshot.save(this.#replayed(log.length).state);
    const stride = Math.max(1, Math.ceil(log.length / replayCutsMax));
    for (let cut = 0; cut <= log.length; cut += stride) {
      const { state } = this.#replayed(cut);
      const saved = snapshot.save(state);
      const stored = structuredClone(saved);
      let loaded = snapshot.load(structuredClone(saved));
      let lived = state;
      for (const event of log.slice(cut)) {
        lived = this.#policy.evolve(lived, event as never);
        loaded = this.#policy.evolve(loaded, event as never);
      }
      if (!isDeepStrictEqual(saved, stored)) fail(`events after ${cut} changed a saved snapshot`, saved, stored);
      const reached = snapshot.save(loaded);
      if (!isDeepStrictEqual(reached, end)) fail(`a snapshot at ${cut} leads to another state`, reached, end);
    }
  }

  #replayed(length: number): { state: State } {
    let state = this.#policy.initial();
    for (const event of this.#run.log.slice(0, length)) state = this.#policy.evolve(state, event as never);
    return { state };
  }

  #assertTaken(): void {
    const refusal = this.refusal?.refused;
    if (refusal) fail(`the command was refused with ${refusal.code}: ${refusal.message}`, refusal, undefined);
  }

  #fresh(): PolicyRun<State, Command> {
    return new PolicyRun(this.#policy, this.#options.startMs ?? 0, this.#options.stream);
  }
}

function isEvents(step: unknown): step is Events {
  if (Array.isArray(step)) return true;
  return step !== null && typeof step === 'object' && 'type' in step && 'data' in step;
}

function isMoment(step: unknown): step is Moment {
  return step !== null && typeof step === 'object' && 'at' in step && !('type' in step);
}

function isExpectedRefusal(expected: unknown): expected is ExpectedRefusal {
  return expected !== null && typeof expected === 'object' && 'refused' in expected;
}
