import {
  type Clock,
  CloudosError,
  type CommandResult,
  type Decision,
  type EventLog,
  type IdSource,
  isRefusal,
  type Logger,
  type LogProvider,
  messageOf,
  type Policy,
  type Producer,
  type RecordedEvent,
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
  /** A snapshot is saved after that many events. */
  readonly snapshotEvery: number;
}

export const policyLimits: PolicyLimits = { deadlineMs: 30_000, commandsMax: 1_024, snapshotEvery: 100_000 };

export interface PolicyRunnerOptions {
  readonly policy: Policy;
  /** The decision stream. */
  readonly stream: string;
  readonly log: EventLog & Pick<LogProvider, 'snapshots'>;
  readonly producer: Producer;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly logger?: Logger;
  /** Called once when the policy threw or hung, or another writer took over the stream (REVISION_CONFLICT). */
  readonly onFailure: (error: unknown) => void;
  readonly limits?: Partial<PolicyLimits>;
}

interface PendingCommand {
  readonly command: unknown;
  readonly id: string;
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
    const { policy, log } = this.#options;
    if (this.#level < 0) {
      const snapshot = policy.snapshot && (await log.snapshots.load(this.#snapshotKey, policy.snapshot.version));
      if (policy.snapshot && snapshot && snapshot.position <= log.head()) {
        this.#state = this.#guard('load', () => policy.snapshot?.load(snapshot.state));
        this.#level = snapshot.position;
        this.#snapshots.loaded(snapshot.position);
      } else {
        this.#state = this.#guard('initial', () => policy.initial());
      }
    }
    while (this.#level < log.head()) {
      for await (const batch of log.read({ from: this.#level + 1 })) {
        this.#guard('evolve', () => this.#evolve(batch));
      }
    }
  }

  /** Claims the stream and decides from now on. Call {@link catchUp} before. */
  async start(): Promise<void> {
    await this.#recent.load(this.#options.log, this.#options.stream);
    await this.#writer.claim([], this.#level);
    this.#subscription = this.#options.log
      .subscribe(this.#level + 1, undefined, this.#mail)
      .subscribe({ next: (batch) => this.#mail.put(batch), complete: () => this.#mail.close() });
    this.#running = this.#run();
  }

  /**
   * Has the policy decide a command and appends what it decides.
   * @param id UUIDv7 of the command; the same id again returns the first result (for the last 4,096 commands)
   * @throws CloudosError with the code of the refusal; COMMAND_REFUSED when too many wait or the policy stops
   */
  command(command: unknown, id: string): Promise<CommandResult> {
    if (this.#stopping.signal.aborted) return Promise.reject(stopped(this.#options.stream));
    if (this.#commands.length >= this.#limits.commandsMax) {
      const message = `${this.#commands.length} commands wait for ${this.#options.stream}; at most ${this.#limits.commandsMax} may`;
      return Promise.reject(new CloudosError('COMMAND_REFUSED', message, { remedy: 'Send it again later.' }));
    }
    return new Promise((resolve, reject) => {
      this.#commands.push({ command, id, resolve, reject });
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
    const decision = this.#guard('react', () => {
      this.#evolve(events);
      if (this.#unseen.length === 0) this.#unseen = events;
      else this.#unseen = this.#unseen.concat(events);
      // Our own last append may still be on its way: decide when it is here.
      if (this.#level < own || this.#commandIsNext) return undefined;
      return policy.react(this.#state, this.#unseen as readonly SharedEvent[], clock.now());
    });
    if (this.#level < own) return;
    if (decision) {
      this.#unseen = [];
      this.#commandWasLast = false;
      await this.#commit(decision);
      if (this.#commands.length > 0) this.#mail.ring();
    } else {
      this.#commandWasLast = true;
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
    if (decision.events.length > 0) await this.#writer.append(decision.events, this.#level);
    this.#wake(decision.wakeAt);
  }

  async #decideNextCommand(): Promise<void> {
    const next = this.#commands.shift();
    if (!next) return;
    const known = this.#recent.get(next.id);
    if (known) return next.resolve(known);
    try {
      const { policy, clock } = this.#options;
      const answer = this.#guard('decide', () => policy.decide(this.#state, next.command, clock.now()));
      if (isRefusal(answer)) {
        const { code, message, ...options } = answer.refused;
        throw new CloudosError(code, message, options);
      }
      const result = await this.#carryOut(answer, next.id);
      this.#recent.add(next.id, result);
      next.resolve(result);
    } catch (error) {
      next.reject(error);
      if (!(error as { code?: string }).code || isFenced(error)) throw error;
    }
  }

  async #carryOut(decision: Decision, correlation: string): Promise<CommandResult> {
    const warnings = decision.warnings ?? [];
    const events = decision.events.map(({ type, data }) => ({ type, data }));
    if (events.length === 0) return { events, warnings, correlation };
    const { first, last } = await this.#writer.append(decision.events, this.#level, correlation);
    return { positions: { first, last }, events, warnings, correlation };
  }

  #wake(at: number | undefined): void {
    this.#cancelWake();
    this.#cancelWake = () => {};
    if (at === undefined || this.#stopping.signal.aborted) return;
    const delayMs = at - this.#options.clock.now();
    if (delayMs <= 0) this.#mail.ring();
    else this.#cancelWake = this.#options.clock.after(delayMs, () => this.#mail.ring());
  }

  async #saveSnapshot(): Promise<void> {
    const { policy, log, logger, producer } = this.#options;
    if (!policy.snapshot) return;
    const { version, save } = policy.snapshot;
    const position = this.#level;
    await this.#snapshots.save(position, async () => {
      const state = this.#guard('save', () => save.call(policy.snapshot, this.#state));
      // It only makes the next restart faster: a full disk must not stop the policy.
      await log.snapshots
        .save(this.#snapshotKey, { version, position, state })
        .catch((error) => logger?.warn(`snapshot of ${producer.plugin}: ${messageOf(error)}`));
    });
  }

  get #snapshotKey(): string {
    return `policy/${this.#options.producer.plugin}`;
  }

  #guard<T>(what: string, call: () => T): T {
    return callWithin(`${this.#options.producer.plugin}: ${what}`, this.#limits.deadlineMs, call);
  }
}

function stopped(stream: string): CloudosError {
  return new CloudosError('SLOT_EMPTY', `the policy of ${stream} is being stopped or replaced`, {
    remedy: 'Send the command again with the same id: it is carried out once.',
  });
}
