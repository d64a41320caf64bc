import {
  type Clock,
  CloudosError,
  type CommandResult,
  type Decision,
  type EventLog,
  errorCode,
  type IdSource,
  isRefusal,
  type Logger,
  type LogProvider,
  messageOf,
  type Policy,
  type Producer,
  type RecordedEvent,
  type Refusal,
  type SharedEvent,
} from '@cloudos/sdk';
import type { Subscription } from 'rxjs';
import { SnapshotPace } from '../snapshot-pace.ts';
import { isFenced, StreamWriter } from '../stream-writer.ts';
import { Mailbox } from './mailbox.ts';
import { callWithin } from './policy-call.ts';
import { RecentCommands } from './recent-commands.ts';

/** Bounds of a policy runner. */
export interface PolicyLimits {
  /** How long one batch of `evolve` and `react`, or one `decide`, may take. */
  readonly deadlineMs: number;
  /** Commands that may wait to be decided. */
  readonly commandsMax: number;
  /** How long a command waits for room in a log that is full before it is refused. */
  readonly commandPatienceMs: number;
  /** A snapshot is saved after that many events. */
  readonly snapshotEvery: number;
}

export const policyLimits: PolicyLimits = {
  deadlineMs: 30_000,
  commandsMax: 1_024,
  commandPatienceMs: 2_000,
  snapshotEvery: 100_000,
};

/** Version of the snapshot of a policy that has none. */
const noSnapshotVersion = -1;

/** A policy that is due again at once is woken after that long. */
const wakeDelayMinMs = 1;

export interface PolicyRunnerOptions {
  readonly policy: Policy;
  /** The decision stream. */
  readonly stream: string;
  readonly log: EventLog & Pick<LogProvider, 'snapshots'>;
  readonly producer: Producer;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger?: Logger;
  /** Under which name snapshots are kept: of this policy in this configuration. */
  readonly snapshotKey: string;
  /** Called once when the policy threw or hung, or another writer took over the stream (REVISION_CONFLICT). */
  readonly onFailure: (error: unknown) => void;
  readonly limits?: Partial<PolicyLimits>;
}

/** What comes with a command. */
export interface CommandMeta {
  /** UUIDv7 of the command; the same id again returns the first result. */
  readonly id: string;
  /** W3C Trace Context. */
  readonly traceparent?: string;
}

interface PendingCommand {
  readonly command: unknown;
  readonly about: CommandMeta;
  readonly resolve: (result: CommandResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Runs a policy over the log. Everything that a batch leads to is one atomic append to the policy's stream with
 * `causation`, the position up to which the log had been handled. The next `react` or `decide` waits until the state
 * has seen the policy's own last append: nothing is decided twice, neither after a crash nor while running.
 */
export class PolicyRunner {
  readonly #options: PolicyRunnerOptions;
  readonly #limits: PolicyLimits;
  readonly #writer: StreamWriter;
  readonly #mail = new Mailbox();
  readonly #stopping = new AbortController();
  readonly #recent = new RecentCommands();
  readonly #snapshots: SnapshotPace;
  readonly #commands: PendingCommand[] = [];
  #state: unknown;
  /** Every event up to here is in the state. */
  #level = -1;
  /** What `react` has not been shown yet. */
  #unseen: readonly RecordedEvent[] = [];
  #commandWasLast = false;
  /** What the subscription to the log ended with. */
  #broken: unknown;
  #cancelWake: () => void = () => {};
  #subscription: Subscription | undefined;
  #running: Promise<void> | undefined;

  constructor(options: PolicyRunnerOptions) {
    this.#options = options;
    this.#limits = { ...policyLimits, ...options.limits };
    const { log, stream, producer, clock, newId } = options;
    this.#snapshots = new SnapshotPace(clock, this.#limits.snapshotEvery);
    this.#writer = new StreamWriter({ log, stream, producer, clock, newId, signal: this.#stopping.signal });
  }

  get level(): number {
    return this.#level;
  }

  /** Rebuilds the state from the newest snapshot and the log after it, up to the head. Decides nothing. */
  async catchUp(): Promise<void> {
    const { log } = this.#options;
    if (this.#level < 0) await this.#loadSnapshot();
    while (this.#level < log.head()) {
      for await (const batch of log.read({ from: this.#level + 1 })) {
        this.#guard('evolve', () => this.#evolve(batch));
      }
    }
  }

  /** Claims the stream and decides from now on. Call {@link catchUp} before. */
  async start(): Promise<void> {
    await this.#recent.load(this.#options.log, this.#options.stream);
    await this.#writer.claim([], { causation: this.#level });
    this.#subscription = this.#options.log.subscribe(this.#level + 1, undefined, this.#mail).subscribe({
      next: (batch) => this.#mail.put(batch),
      error: (error) => {
        this.#broken = error;
        this.#mail.ring();
      },
      complete: () => this.#mail.close(),
    });
    this.#running = this.#run();
  }

  /**
   * Has the policy decide a command and appends what it decides.
   * @throws CloudosError with the code of the refusal; COMMAND_REFUSED when too many wait; LOG_FULL when there is no
   * room for it in time; SLOT_EMPTY when the policy stops
   */
  command(command: unknown, about: CommandMeta): Promise<CommandResult> {
    if (this.#stopping.signal.aborted) return Promise.reject(stopped(this.#options.stream));
    if (this.#commands.length >= this.#limits.commandsMax) {
      const message = `${this.#commands.length} commands wait for ${this.#options.stream}; at most ${this.#limits.commandsMax} may`;
      return Promise.reject(new CloudosError('COMMAND_REFUSED', message, { remedy: 'Send it again later.' }));
    }
    return new Promise((resolve, reject) => {
      this.#commands.push({ command, about, resolve, reject });
      this.#mail.ring();
    });
  }

  /** Stops deciding. What was decided is durable when it resolves. Saves a snapshot unless the policy failed. */
  async stop(): Promise<void> {
    this.#halt();
    await this.#running;
    if (this.#running && this.#level > this.#snapshots.position) await this.#saveSnapshot();
  }

  #halt(): void {
    this.#stopping.abort();
    this.#cancelWake();
    this.#subscription?.unsubscribe();
    this.#mail.close();
  }

  async #run(): Promise<void> {
    try {
      await this.#turn([]);
      for (;;) {
        const events = await this.#mail.take();
        if (this.#broken !== undefined) throw this.#broken;
        if (this.#mail.closed) break;
        await this.#turn(events);
      }
    } catch (error) {
      if (this.#stopping.signal.aborted) return; // what was under way is decided again by whoever comes next
      this.#running = undefined; // a state that may be half evolved is not worth a snapshot
      this.#halt();
      this.#options.onFailure(error);
    } finally {
      for (const { reject } of this.#commands.splice(0)) reject(stopped(this.#options.stream));
    }
  }

  /** Takes in events; then, when the state has seen our own last append, decides one command or reacts. */
  async #turn(events: readonly RecordedEvent[]): Promise<void> {
    const { policy, clock } = this.#options;
    const own = this.#writer.last;
    const commandIsNext = this.#commandIsNext;
    const decision = this.#guard('react', () => {
      this.#evolve(events);
      if (this.#unseen.length === 0) this.#unseen = events;
      else this.#unseen = this.#unseen.concat(events);
      // Our own last append may still be on its way: decide when it is here.
      if (this.#level < own || commandIsNext) return undefined;
      return checkDecision(policy.react(this.#state, this.#unseen as readonly SharedEvent[], clock.now()));
    });
    if (this.#level < own) return;
    this.#commandWasLast = commandIsNext;
    if (decision) {
      this.#unseen = [];
      await this.#commit(decision);
      if (this.#commands.length > 0) this.#mail.ring();
    } else {
      await this.#decideNextCommand();
      this.#mail.ring();
    }
    if (this.#snapshots.due(this.#level)) await this.#saveSnapshot();
  }

  /** Commands and reactions take turns, so that neither starves the other. */
  get #commandIsNext(): boolean {
    return this.#commands.length > 0 && !this.#commandWasLast;
  }

  #evolve(events: readonly RecordedEvent[]): void {
    const { policy } = this.#options;
    let state = this.#state;
    for (const event of events) {
      if (event.position <= this.#level) continue;
      state = policy.evolve(state, event as SharedEvent);
      this.#level = event.position;
    }
    this.#state = state;
  }

  async #commit(decision: Decision): Promise<void> {
    if (decision.events.length > 0) await this.#writer.append(decision.events, { causation: this.#level });
    this.#wake(decision.wakeAt);
  }

  async #decideNextCommand(): Promise<void> {
    const next = this.#commands.shift();
    if (!next) return;
    const known = this.#recent.get(next.about.id);
    if (known) return next.resolve(known);
    try {
      const { policy, clock } = this.#options;
      const answer = this.#guard('decide', () => checkDecision(policy.decide(this.#state, next.command, clock.now())));
      if (isRefusal(answer)) {
        const { code, message, ...options } = answer.refused;
        throw new CloudosError(code, message, options);
      }
      const result = await this.#carryOut(answer, next.about);
      this.#recent.add(next.about.id, result);
      next.resolve(result);
    } catch (error) {
      next.reject(error);
      const code = errorCode(error);
      if (code === undefined || code === 'PLUGIN_TIMEOUT' || isFenced(error)) throw error;
    }
  }

  async #carryOut(decision: Decision, { id, traceparent }: CommandMeta): Promise<CommandResult> {
    const warnings = decision.warnings ?? [];
    const events = decision.events.map(({ type, data }) => ({ type, data }));
    if (events.length === 0) return { events, warnings, correlation: id };
    const about = { causation: this.#level, correlation: id, ...(traceparent !== undefined && { traceparent }) };
    const { first, last } = await this.#writer.append(decision.events, about, this.#limits.commandPatienceMs);
    return { positions: { first, last }, events, warnings, correlation: id };
  }

  #wake(at: number | undefined): void {
    this.#cancelWake();
    this.#cancelWake = () => {};
    if (at === undefined || this.#stopping.signal.aborted) return;
    // Through the clock even when it is due: a policy that is always due must not keep the thread to itself.
    const delayMs = Math.max(wakeDelayMinMs, at - this.#options.clock.now());
    this.#cancelWake = this.#options.clock.after(delayMs, () => this.#mail.ring());
  }

  /** Begins with the newest snapshot. One that cannot be loaded counts as absent: the log has everything. */
  async #loadSnapshot(): Promise<void> {
    const { policy, log, logger, producer, snapshotKey } = this.#options;
    const snapshot = policy.snapshot && (await log.snapshots.load(snapshotKey, policy.snapshot.version));
    if (snapshot && snapshot.position <= log.head()) {
      try {
        this.#state = this.#guard('load', () => policy.snapshot?.load(snapshot.state));
        this.#level = snapshot.position;
        this.#snapshots.loaded(snapshot.position);
        return;
      } catch (error) {
        logger?.warn(`snapshot of ${producer.plugin} cannot be loaded, replaying the log: ${messageOf(error)}`);
      }
    }
    this.#state = this.#guard('initial', () => policy.initial());
    if (!policy.snapshot) await this.#keepAllEvents();
  }

  /** A policy without snapshots begins at position 0 each time: a snapshot of nothing says so to whoever trims the log. */
  async #keepAllEvents(): Promise<void> {
    const { log, snapshotKey } = this.#options;
    if (await log.snapshots.load(snapshotKey, noSnapshotVersion)) return;
    await log.snapshots.save(snapshotKey, { version: noSnapshotVersion, position: -1, state: null });
  }

  /** Leaves a snapshot. It only makes the next restart faster: failing to is logged and no more. */
  async #saveSnapshot(): Promise<void> {
    const { policy, log, logger, producer, snapshotKey } = this.#options;
    if (!policy.snapshot) return;
    const { version, save } = policy.snapshot;
    const position = this.#level;
    try {
      await this.#snapshots.save(position, async () => {
        const state = this.#guard('save', () => save.call(policy.snapshot, this.#state));
        await log.snapshots.save(snapshotKey, { version, position, state });
      });
    } catch (error) {
      logger?.warn(`snapshot of ${producer.plugin}: ${messageOf(error)}`);
    }
  }

  #guard<T>(what: string, call: () => T): T {
    return callWithin(`${this.#options.producer.plugin}: ${what}`, this.#limits.deadlineMs, call);
  }
}

/** A policy that answers with nothing at all is broken, and must not be asked again and again. */
function checkDecision<T extends Decision | Refusal>(answer: T): T {
  if (answer && (isRefusal(answer) || Array.isArray(answer.events))) return answer;
  throw new TypeError(`a policy must answer with a decision, it answered ${JSON.stringify(answer)}`);
}

function stopped(stream: string): CloudosError {
  return new CloudosError('SLOT_EMPTY', `the policy of ${stream} is being stopped or replaced`, {
    remedy: 'Send the command again with the same id: it is carried out once.',
  });
}
