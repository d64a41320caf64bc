import { assertAppend } from '@cloudos/event-log';
import {
  type AppendResult,
  type Clock,
  CloudosError,
  type ExpectedRevision,
  hasCode,
  type IdSource,
  type NewEvent,
  type RecordedEvent,
} from '@cloudos/sdk';
import type { BlockLog } from './block-log.ts';
import { BlockSpace } from './block-space.ts';
import { withChecksum } from './checked-row.ts';
import { Checkpointer } from './checkpointer.ts';
import { CommitBatch } from './commit-batch.ts';
import { commitFailure } from './commit-failure.ts';
import { withinDeadline } from './deadline.ts';
import { type DiskSpace, reserveBytes } from './disk-space.ts';
import { IndexWriter } from './index-writer.ts';
import type { Journal } from './journal.ts';
import { type PendingAppend, tell } from './pending-append.ts';
import { unstorable } from './unstorable.ts';

/** The most appends that may be unacknowledged: one more is LOG_OVERLOADED. */
export const appendsInFlightMax = 16_384;
/** The most events that may be unacknowledged, unless a single append has more. */
export const eventsInFlightMax = 262_144;
/** The most events in one commit, unless a single append has more. */
export const commitEventsMax = 8192;
/**
 * With that many events ready the next commit starts before the callers of the last one hear of it. With fewer they hear
 * first: what they append next rides along, and one flush carries more.
 */
export const overlapEventsMin = 256;
/** How long a commit may take, in milliseconds. After that the log gives up: what becomes of the commit is not known. */
export const commitDeadlineMs = 30_000;

export interface CommitterOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly newId: IdSource;
  readonly space: DiskSpace;
  readonly journal: Journal;
  readonly commitDeadlineMs: number;
  /** The events are on disk. */
  readonly onDurable: (events: readonly RecordedEvent[]) => void;
  readonly onFailure: (error: CloudosError) => void;
}

/**
 * Turns appends into commits. One commit at a time is on its way to the disk; what is appended meanwhile gets its place
 * and is encoded for the next. Appends take effect in the order of the calls, and are acknowledged in that order.
 */
export class Committer {
  readonly #log: BlockLog;
  readonly #options: CommitterOptions;
  readonly #index: IndexWriter;
  readonly #checkpointer: Checkpointer;
  readonly #space = new BlockSpace();
  /** Takes appends. */
  #gathering: CommitBatch;
  /** On its way to the disk. */
  #committing: CommitBatch | undefined;
  /** Appends that the batch has no room for, or that need a search, and all that came after. */
  #waiting: PendingAppend[] = [];
  #appends = 0;
  #events = 0;
  #busy = false;
  #failure: CloudosError | undefined;
  #isStuck = false;
  #idle: (() => void)[] = [];

  constructor(log: BlockLog, options: CommitterOptions) {
    this.#log = log;
    this.#options = options;
    this.#index = new IndexWriter(
      log,
      () => this.#checkpointer.kick(),
      () => this.#durableHeads(),
    );
    this.#checkpointer = new Checkpointer(log, this.#index, {
      space: options.space,
      memory: this.#space,
      deadlineMs: options.commitDeadlineMs,
      onStored: (position) => options.journal.stored(position),
      failed: (error) => this.#failed(error),
    });
    this.#gathering = this.#newBatch(log.head + 1);
  }

  /** Brings into the database what the journal had when the log was opened. */
  recovered(): void {
    const { pending } = this.#log;
    const blocks = pending.firsts().map((first) => ({ first, value: pending.at(first)!, arena: undefined }));
    if (blocks.length === 0) return;
    const bytes = blocks.reduce((sum, { value }) => sum + value.length + 4096, 0);
    this.#checkpointer.add({ blocks, bytes, last: this.#log.head });
  }

  /** Why the log cannot go on. */
  get failure(): CloudosError | undefined {
    return this.#failure;
  }

  append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult> {
    return new Promise((resolve, reject) => {
      if (this.#failure) throw this.#failure;
      assertAppend(stream, events, at);
      this.#assertRoom(events.length);
      const append: PendingAppend = {
        stream,
        events,
        at,
        resolve,
        reject,
        result: undefined,
        error: undefined,
        wanted: undefined,
        searched: undefined,
        isMeasured: false,
      };
      this.#appends++;
      this.#events += events.length;
      if (this.#waiting.length > 0 || !this.#admit(append)) this.#waiting.push(append);
      if (!this.#busy) this.#kick();
    });
  }

  /** The ledger counts what is not on disk yet as well. */
  durableRevision(stream: string): number {
    let revision = this.#log.ledger.revision(stream);
    for (const batch of [this.#committing, this.#gathering]) {
      for (const event of batch?.events ?? []) if (event.stream === stream) revision--;
    }
    return revision;
  }

  #durableHeads(): ReadonlyMap<string, number> {
    const heads = new Map(this.#log.ledger.heads());
    for (const batch of [this.#gathering, this.#committing]) {
      for (const { stream, revision } of batch?.events.toReversed() ?? []) {
        if (revision === 0) heads.delete(stream);
        else heads.set(stream, revision - 1);
      }
    }
    return heads;
  }

  /** Whether a commit has not settled in time: the database may still be writing. */
  get isStuck(): boolean {
    return this.#isStuck;
  }

  /** Resolves when everything that was appended is acknowledged or refused. */
  settle(): Promise<void> {
    return this.#busy ? new Promise<void>((resolve) => this.#idle.push(resolve)) : Promise.resolve();
  }

  /** Brings what is in the journal into the database. */
  checkpoint(): Promise<void> {
    return this.#checkpointer.flush();
  }

  /** Brings all there is into the database, and writes what the index lacks. */
  async finish(): Promise<void> {
    this.#index.stop();
    if (this.#failure) return this.#checkpointer.stop();
    try {
      await this.#checkpointer.finish();
      await withinDeadline(this.#index.finish(), this.#options.commitDeadlineMs, 'writing the index');
    } catch (error) {
      throw await this.#failed(error);
    }
  }

  #kick(): void {
    if (this.#busy || this.#failure) return;
    this.#busy = true;
    process.nextTick(() => void this.#run());
  }

  /** Commits until there is nothing to commit. */
  async #run(): Promise<void> {
    /** Appends that are on disk and whose callers have not heard yet. */
    let done: readonly PendingAppend[] = [];
    while (!this.#failure) {
      if (done.length > 0 && this.#gathering.events.length < overlapEventsMin) {
        this.#tell(done);
        done = [];
        // The queue of ticks comes after all that the callers do at once when they hear.
        await new Promise<void>((resolve) => process.nextTick(resolve));
      }
      const batch = this.#gathering;
      batch.encodeRest();
      if (batch.isSuspect) {
        this.#takeApart(batch);
      } else if (batch.appends.length > 0) {
        const committing = this.#commit(batch);
        this.#tell(done);
        await committing;
        done = batch.appends;
      } else if (this.#waiting.length > 0) {
        await this.#searchFirst();
      } else if (done.length === 0) break;
      if (this.#waiting.length > 0) this.#refill();
    }
    this.#tell(done);
    if (this.#failure) this.#giveUp(this.#failure);
    this.#busy = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Gives an append its place in the batch. False when it has to wait. */
  #admit(append: PendingAppend): boolean {
    const batch = this.#gathering;
    if (batch.events.length > 0 && batch.events.length + append.events.length > commitEventsMax) return false;
    try {
      const verdict = this.#log.ledger.check(append.stream, append.events, append.at, append.searched);
      if (verdict.kind === 'search') {
        append.wanted = verdict.ids;
        return false;
      }
      append.result = verdict.kind === 'write' ? batch.place(append, this.#options.clock.now()) : verdict.result;
    } catch (error) {
      append.error = error;
    }
    batch.appends.push(append);
    batch.encodeFull();
    return true;
  }

  #refill(): void {
    let taken = 0;
    while (taken < this.#waiting.length && this.#admit(this.#waiting[taken]!)) taken++;
    this.#waiting.splice(0, taken);
  }

  /** Nothing is under way, so the search misses nothing. */
  async #searchFirst(): Promise<void> {
    const append = this.#waiting[0]!;
    if (!append.wanted) return;
    try {
      append.searched = await this.#log.search(append.stream, append.wanted);
    } catch (error) {
      append.error = error;
      this.#gathering.appends.push(append);
      this.#waiting.shift();
    }
  }

  /** Writes and flushes a batch. Never rejects: what went wrong is in its appends. */
  async #commit(batch: CommitBatch): Promise<void> {
    this.#committing = batch;
    const written = batch.blocks.length > 0 ? this.#write(batch) : undefined;
    this.#gathering = this.#newBatch(batch.end, batch.ids);
    try {
      await written;
    } catch (error) {
      return this.#undo(batch, await this.#failed(error));
    }
    this.#committing = undefined;
    if (batch.events.length === 0) return;
    this.#log.head = batch.last;
    this.#log.ids = batch.ids;
    for (const block of batch.blocks) this.#index.add(block);
    if (this.#log.storedTo < batch.last) {
      for (const { first, value } of batch.blocks) this.#log.pending.add(first, value);
      this.#checkpointer.add(batch.toStore());
    }
    this.#options.onDurable(batch.events);
  }

  /** Durable when it resolves: in the journal, or in the database where the journal cannot take it. */
  async #write(batch: CommitBatch): Promise<void> {
    const { journal, space, directory, commitDeadlineMs } = this.#options;
    if (!space.fits(batch.bytes * 2 + 4096)) throw full(directory);
    const structures = this.#log.hasNewStructures ? this.#log.unsavedStructures : undefined;
    const entries = batch.blocks.map(({ value }) => value);
    if (structures) entries.unshift(withChecksum(structures));
    if (!journal.takes(entries)) return this.#checkpointer.through(batch.toStore());
    const { first, last } = batch;
    journal.write(entries, { first, last, hasStructures: structures !== undefined });
    this.#log.hasNewStructures = false;
    await withinDeadline(journal.flush(), commitDeadlineMs, 'a commit');
  }

  /** Takes back what a failed commit did in memory, and what rests on it. */
  #undo(batch: CommitBatch, error: CloudosError): void {
    for (const append of batch.appends) append.error ??= error;
    const next = this.#gathering;
    this.#log.ledger.removeLast(next.events);
    this.#log.ledger.removeLast(batch.events);
    this.#committing = undefined;
    // The database may still read from the memory of the failed batch: it is not given back.
    next.discard();
    this.#again(next.appends);
    this.#gathering = this.#newBatch(this.#log.head + 1);
  }

  /** Some event cannot be encoded or is too large: refuses the appends with such, and puts the others back in line. */
  #takeApart(batch: CommitBatch): void {
    this.#log.ledger.removeLast(batch.events);
    const refused: PendingAppend[] = [];
    const again: PendingAppend[] = [];
    const isMeasured = batch.appends.every((append) => append.isMeasured);
    for (const append of batch.appends) {
      const error = isMeasured ? notTogether(append.stream) : unstorable(this.#log.codec, append);
      append.isMeasured = true;
      if (error) append.error = error;
      (error ? refused : again).push(append);
    }
    batch.discard();
    this.#gathering = this.#newBatch(this.#log.head + 1);
    this.#again(again);
    this.#release(refused);
    tell(refused);
  }

  #again(appends: readonly PendingAppend[]): void {
    for (const append of appends) {
      append.result = undefined;
      append.error = undefined;
      append.searched = undefined;
    }
    this.#waiting.unshift(...appends);
  }

  /** Nobody hears of an acknowledgement any more. */
  #giveUp(error: CloudosError): void {
    const left = [...this.#gathering.appends, ...this.#waiting];
    for (const append of left) append.error = error;
    this.#waiting = [];
    this.#gathering = this.#newBatch(this.#log.head + 1);
    this.#release(left);
    tell(left);
  }

  #tell(appends: readonly PendingAppend[]): void {
    this.#release(appends);
    tell(appends);
  }

  #release(appends: readonly PendingAppend[]): void {
    this.#appends -= appends.length;
    for (const append of appends) this.#events -= append.events.length;
  }

  async #failed(error: unknown): Promise<CloudosError> {
    if (hasCode(error, 'LOG_FULL')) return error as CloudosError;
    if (hasCode(error, 'TIMED_OUT')) this.#isStuck = true;
    const failure = await commitFailure(this.#options.directory, error);
    if (failure.code !== 'LOG_FULL') {
      this.#failure = failure;
      this.#options.onFailure(failure);
    }
    return failure;
  }

  #newBatch(first: number, ids = this.#log.ids): CommitBatch {
    return new CommitBatch(this.#log, this.#space, this.#options.newId, first, ids);
  }

  #assertRoom(events: number): void {
    if (this.#appends < appendsInFlightMax && (this.#events === 0 || this.#events + events <= eventsInFlightMax))
      return;
    throw new CloudosError(
      'LOG_OVERLOADED',
      `${this.#appends} appends with ${this.#events} events wait, expected at most ${appendsInFlightMax} with ${eventsInFlightMax}`,
    );
  }
}

/** Each event can be stored, all of them in a block cannot. */
function notTogether(stream: string): CloudosError {
  return new CloudosError('EVENT_INVALID', `append to ${stream}: the events cannot be stored`);
}

function full(directory: string): CloudosError {
  return new CloudosError('LOG_FULL', `${directory}: less than ${reserveBytes} bytes would be left on its disk`);
}
