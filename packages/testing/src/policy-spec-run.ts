import {
  checkEvent,
  type Decision,
  eventsByLayer,
  isRefusal,
  type NewEvent,
  type Policy,
  type RecordedEvent,
  type Refusal,
  type SharedEvent,
} from '@cloudos/sdk';

/** Reactions that may follow one another without anything from outside before a run counts as endless. */
export const settleRoundsMax = 10_000;

/** What entered a run from outside: enough to repeat it. */
export type RunInput<Command> =
  | { readonly kind: 'history'; readonly events: readonly NewEvent[] }
  | { readonly kind: 'events'; readonly events: readonly NewEvent[] }
  | { readonly kind: 'command'; readonly command: Command }
  | { readonly kind: 'time'; readonly at: number };

/** Answers of a policy since somebody looked last. */
export interface RunOutcome {
  events: RecordedEvent[];
  warnings: string[];
  refusal: Refusal | undefined;
}

/**
 * Runs one policy over a log in memory as the kernel does: every event evolves the state in the order of the log,
 * the policy's own decisions included; `react` follows each batch until nothing is left to decide; `wakeAt` of the
 * latest reaction is honoured by a virtual clock. Deterministic. Events are frozen: a policy that changes one throws.
 */
export class PolicyRun<State, Command> {
  readonly log: RecordedEvent[] = [];
  readonly inputs: RunInput<Command>[] = [];
  now: number;
  wakeAt: number | undefined;
  state: State;
  outcome: RunOutcome = { events: [], warnings: [], refusal: undefined };
  /** Whether the policy has reacted to everything in the log. */
  settled = false;
  readonly #policy: Policy<State, Command>;
  readonly #stream: string | undefined;
  readonly #revisions = new Map<string, number>();

  constructor(policy: Policy<State, Command>, startMs: number, stream: string | undefined) {
    this.#policy = policy;
    this.#stream = stream;
    this.now = startMs;
    this.state = policy.initial();
  }

  /** Events that had been handled before: the state evolves, nobody reacts. */
  history(events: readonly NewEvent[]): void {
    this.inputs.push({ kind: 'history', events });
    for (const event of events) this.#record(event, undefined);
    this.settled = false;
  }

  /** One batch from other writers. */
  events(events: readonly NewEvent[]): void {
    this.inputs.push({ kind: 'events', events });
    const latest = Math.max(this.now, ...events.map((event) => event.time ?? 0));
    if (latest > this.now) this.#advance(latest);
    this.#settle(events.map((event) => this.#record(event, undefined)));
  }

  command(command: Command): void {
    this.inputs.push({ kind: 'command', command });
    const answer = this.#policy.decide(this.state, command, this.now);
    if (isRefusal(answer)) {
      this.outcome.refusal = answer;
      return;
    }
    this.#settle(this.#append(answer));
  }

  /** Lets time pass up to that moment, waking the policy when it asked for it. */
  time(at: number): void {
    if (at < this.now) throw new Error(`time cannot go back: it is ${this.now}, at(${at}) was asked for`);
    this.inputs.push({ kind: 'time', at });
    this.#advance(at);
  }

  /** Repeats inputs of another run. */
  repeat(inputs: readonly RunInput<Command>[]): void {
    for (const input of inputs) {
      if (input.kind === 'history') this.history(input.events);
      else if (input.kind === 'events') this.events(input.events);
      else if (input.kind === 'command') this.command(input.command);
      else this.time(input.at);
    }
  }

  #advance(at: number): void {
    for (let rounds = 0; this.wakeAt !== undefined && this.wakeAt <= at; rounds++) {
      if (rounds > settleRoundsMax) throw new Error(`the policy woke itself more than ${settleRoundsMax} times`);
      this.now = Math.max(this.now, this.wakeAt);
      this.wakeAt = undefined;
      this.#settle([]);
    }
    this.now = at;
  }

  #settle(first: readonly RecordedEvent[]): void {
    let batch = first;
    for (let rounds = 0; rounds <= settleRoundsMax; rounds++) {
      const decision = this.#policy.react(this.state, batch as readonly SharedEvent[], this.now);
      this.wakeAt = decision.wakeAt;
      batch = this.#append(decision);
      const again = batch.length > 0 || (this.wakeAt !== undefined && this.wakeAt <= this.now);
      this.settled = !again;
      if (!again) return;
    }
    throw new Error(
      `the policy still decides after ${settleRoundsMax} reactions without a new event; last: ${batch.at(-1)?.type ?? `wakeAt ${this.wakeAt} at ${this.now}`}`,
    );
  }

  #append(decision: Decision): RecordedEvent[] {
    this.outcome.warnings.push(...(decision.warnings ?? []));
    const causation = this.log.length - 1;
    const recorded = decision.events.map((event) => this.#record(event, causation));
    this.outcome.events.push(...recorded);
    return recorded;
  }

  #record(event: NewEvent, causation: number | undefined): RecordedEvent {
    const position = this.log.length;
    const own = causation !== undefined;
    const stream = (own ? this.#stream : undefined) ?? streamOf(event);
    const revision = (this.#revisions.get(stream) ?? -1) + 1;
    this.#revisions.set(stream, revision);
    const recorded = deepFreeze({
      position,
      stream,
      revision,
      id: event.id ?? `00000000-0000-7000-8000-${position.toString(16).padStart(12, '0')}`,
      type: event.type,
      time: event.time ?? this.now,
      data: checkEvent(event.type, structuredClone(event.data)),
      meta: {
        ...(own && { causation }),
        producer: { plugin: own ? 'policy' : 'given', generation: 1 },
        schema: 1,
        ...event.meta,
      },
    });
    this.log.push(recorded);
    this.state = this.#policy.evolve(this.state, recorded as SharedEvent);
    return recorded;
  }
}

/** The stream that an event of that type stands in. */
function streamOf(event: NewEvent): string {
  const layer = Object.entries(eventsByLayer).find(([, types]) => Object.hasOwn(types, event.type))?.[0];
  if (layer === 'node') return `node-${(event.data as { node: string }).node}`;
  if (layer === 'migration') return `migration-${(event.data as { migration: string }).migration}`;
  return layer ?? 'private';
}

function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== 'object' || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}
