import {
  assertAppend,
  completeMeta,
  type ForgottenIds,
  LogTail,
  type SearchResult,
  subscribeTo,
} from '@cloudos/event-log';
import {
  type AppendResult,
  type Backpressure,
  type Clock,
  CloudosError,
  type ExpectedRevision,
  type Filter,
  type GlobalRange,
  type IdSource,
  type LogProvider,
  type LogReport,
  type NewEvent,
  newId,
  type RecordedEvent,
  type StreamRange,
  systemClock,
} from '@cloudos/sdk';
import type { Observable } from 'rxjs';
import { AcknowledgedFile, readAcknowledged } from './acknowledged.ts';
import { blockEventsMax, type EncodedBlock } from './block.codec.ts';
import { BlockLog } from './block-log.ts';
import { withChecksum } from './checked-row.ts';
import { commitFailure } from './commit-failure.ts';
import { DiskSpace, reserveBytes } from './disk-space.ts';
import { IndexWriter } from './index-writer.ts';
import { blockKey, metaKeys } from './keys.ts';
import { checkPages } from './page-check.ts';
import { LmdbSnapshots } from './snapshots.ts';
import { openRows } from './store.ts';
import { eventBytesMax, unstorable } from './unstorable.ts';
import { verifyLog } from './verify.ts';
import { WriterLock } from './writer-lock.ts';

/** The most appends that may wait or be in a commit: one more is LOG_OVERLOADED. */
export const appendsInFlightMax = 16_384;
/** The most events that may wait or be in a commit, unless a single append has more. */
export const eventsInFlightMax = 262_144;
/** The most events in one commit, unless a single append has more. */
export const commitEventsMax = 8192;

export interface LmdbEventLogOptions {
  /** Directory of the log; made if absent. */
  readonly directory: string;
  readonly clock?: Clock;
  readonly newId?: IdSource;
  /** Virtual address space to begin with; the map grows by itself. */
  readonly mapSizeBytes?: number;
  /** Called when the log cannot go on: a commit failed and it is not known why. */
  readonly onFailure?: (error: CloudosError) => void;
}

interface Request {
  readonly stream: string;
  readonly events: readonly NewEvent[];
  readonly at: ExpectedRevision;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: unknown) => void;
  searched?: SearchResult;
  /** Each event was measured and can be stored. */
  measured?: boolean;
}

/** What an appender is told once the commit is on disk. */
type Outcome =
  | { readonly request: Request; readonly result: AppendResult }
  | { readonly request: Request; readonly error: unknown };

/** What is being committed. */
interface Commit {
  readonly events: readonly RecordedEvent[];
  readonly requests: readonly Request[];
  readonly outcomes: readonly Outcome[];
}

/**
 * The durable log. One commit is flushed at a time; appends that come meanwhile gather for the next. Appends take
 * effect in the order of the calls.
 */
export class LmdbEventLog implements LogProvider {
  readonly snapshots: LmdbSnapshots;
  readonly #log: BlockLog;
  readonly #lock: WriterLock;
  readonly #acknowledged: AcknowledgedFile;
  readonly #index: IndexWriter;
  readonly #space: DiskSpace;
  readonly #clock: Clock;
  readonly #newId: IdSource;
  readonly #directory: string;
  readonly #onFailure: (error: CloudosError) => void;
  readonly #tail: LogTail;
  /** Events that have their place and are not on disk yet. */
  #unflushed: readonly RecordedEvent[] = [];
  #queue: Request[] = [];
  #queuedEvents = 0;
  #inFlight = 0;
  #busy = false;
  #failure: CloudosError | undefined;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  private constructor(log: BlockLog, lock: WriterLock, options: LmdbEventLogOptions) {
    this.#log = log;
    this.#lock = lock;
    this.#directory = options.directory;
    this.#clock = options.clock ?? systemClock;
    this.#newId = options.newId ?? newId;
    this.#onFailure = options.onFailure ?? (() => {});
    this.#acknowledged = new AcknowledgedFile(options.directory);
    this.#space = new DiskSpace(options.directory);
    this.#index = new IndexWriter(log, () => this.#kick());
    this.#tail = new LogTail(log.head);
    this.snapshots = new LmdbSnapshots(log.rows, this.#space);
  }

  /** @throws CloudosError LOG_HELD, LOG_CORRUPT, LOG_UNAVAILABLE */
  static async open(options: LmdbEventLogOptions): Promise<LmdbEventLog> {
    const { directory, mapSizeBytes } = options;
    const lock = await WriterLock.acquire(directory);
    try {
      checkPages(directory);
      const rows = openRows({ directory, readOnly: false, ...(mapSizeBytes === undefined ? {} : { mapSizeBytes }) });
      try {
        const log = new BlockLog(rows, directory);
        log.recover(readAcknowledged(directory));
        return new LmdbEventLog(log, lock, options);
      } catch (error) {
        await rows.close();
        throw error;
      }
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult> {
    return new Promise((resolve, reject) => {
      this.#assertOpen();
      if (this.#failure) throw this.#failure;
      assertAppend(stream, events, at);
      this.#assertRoom(events.length);
      this.#queue.push({ stream, events, at, resolve, reject });
      this.#queuedEvents += events.length;
      if (!this.#busy) this.#kick();
    });
  }

  read(range: StreamRange | GlobalRange): AsyncIterable<readonly RecordedEvent[]> {
    const head = this.#log.head;
    return this.#log.read(range, head, 'stream' in range ? this.#durableRevision(range.stream) : -1);
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    return subscribeTo({ tail: this.#tail, read: (range) => this.read(range) }, from, filter, backpressure);
  }

  head(): number {
    return this.#log.head;
  }

  async revision(stream: string): Promise<number> {
    this.#assertOpen();
    return this.#durableRevision(stream);
  }

  verify(onProgress?: (positions: number) => void): Promise<LogReport> {
    return verifyLog(this.#log, this.#directory, onProgress);
  }

  /**
   * Reads every block in order and decodes its MessagePack, no more: no check, no events made of it. The bound of a replay.
   * @returns how many events the blocks hold
   */
  scanRaw(): number {
    return this.#log.scanRaw();
  }

  /** Commits what was appended, completes the subscriptions, writes the index and lets another process have the log. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#busy || this.#queue.length > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#tail.close();
    try {
      if (!this.#failure) await this.#index.finish();
    } finally {
      this.#log.closed = true;
      await this.#log.rows.close();
      this.#acknowledged.close();
      this.#lock.release();
    }
  }

  #kick(): void {
    if (this.#busy) return;
    this.#busy = true;
    process.nextTick(() => void this.#run());
  }

  /** Commits until there is nothing to commit. */
  async #run(): Promise<void> {
    let outcomes: readonly Outcome[] = [];
    while (this.#queue.length > 0 || this.#index.wanted || outcomes.length > 0) {
      const commit = await this.#gather();
      const committing = this.#commit(commit);
      // The next commit is on its way to the disk while the appenders of the last one hear of it.
      tell(outcomes);
      outcomes = await committing;
      this.#inFlight -= commit.events.length;
    }
    this.#busy = false;
    this.#idle?.();
  }

  /** Gives the waiting appends their places, in order, as far as one commit takes them. */
  async #gather(): Promise<Commit> {
    const events: RecordedEvent[] = [];
    this.#unflushed = events;
    const requests: Request[] = [];
    const outcomes: Outcome[] = [];
    const now = this.#clock.now();
    let taken = 0;
    for (; taken < this.#queue.length; taken++) {
      const request = this.#queue[taken]!;
      if (events.length > 0 && events.length + request.events.length > commitEventsMax) break;
      try {
        const verdict = this.#log.ledger.check(request.stream, request.events, request.at, request.searched);
        if (verdict.kind === 'write') {
          outcomes.push({ request, result: this.#place(request, events, now) });
          requests.push(request);
        } else if (verdict.kind === 'duplicate') {
          outcomes.push({ request, result: verdict.result });
        } else {
          if (events.length > 0) break;
          request.searched = await this.#log.search(request.stream, verdict.ids);
          taken--;
        }
      } catch (error) {
        outcomes.push({ request, error });
      }
    }
    for (const request of this.#queue.splice(0, taken)) this.#queuedEvents -= request.events.length;
    this.#inFlight += events.length;
    return { events, requests, outcomes };
  }

  #place(request: Request, events: RecordedEvent[], now: number): AppendResult {
    const { ledger } = this.#log;
    const { stream } = request;
    const first = this.#log.head + 1 + events.length;
    let position = first;
    let revision = ledger.revision(stream);
    for (const event of request.events) {
      const recorded: RecordedEvent = {
        position,
        stream,
        revision: ++revision,
        id: event.id ?? this.#newId(),
        type: event.type,
        time: event.time ?? now,
        data: event.data,
        meta: completeMeta(event.meta),
      };
      ledger.add(recorded.id, stream, revision, position++);
      events.push(recorded);
    }
    return { first, last: position - 1, revision, duplicate: false };
  }

  /** Writes and flushes a commit. Never rejects: what went wrong is in the outcomes. */
  async #commit(commit: Commit): Promise<readonly Outcome[]> {
    const blocks: EncodedBlock[] = [];
    const ids = { ...this.#log.ids };
    let bytes = 4096;
    try {
      for (let at = 0; at < commit.events.length; at += blockEventsMax) {
        const block = this.#log.codec.encode(commit.events.slice(at, at + blockEventsMax), ids);
        if (block.value.length > eventBytesMax && !commit.requests.every((request) => request.measured)) {
          return this.#refuseUnstorable(commit);
        }
        blocks.push(block);
        bytes += block.value.length + 4096;
      }
    } catch {
      return this.#refuseUnstorable(commit);
    }
    if (blocks.length > 0 && !this.#space.fits(bytes * 2)) return this.#undo(commit, this.#full());
    const structures = this.#log.unsavedStructures;
    try {
      const written = this.#put(commit, blocks, structures, ids);
      if (!written) return commit.outcomes;
      await written;
    } catch (error) {
      return this.#undo(commit, await this.#failed(error));
    }
    if (this.#log.unsavedStructures === structures) this.#log.unsavedStructures = undefined;
    this.#index.flushed();
    this.#done(commit, blocks, ids);
    return commit.outcomes;
  }

  #put(
    { events }: Commit,
    blocks: readonly EncodedBlock[],
    structures: Buffer | undefined,
    ids: ForgottenIds,
  ): Promise<unknown> | undefined {
    const { rows } = this.#log;
    let committed: Promise<boolean> | undefined;
    if (structures) committed = rows.put(metaKeys.structures, withChecksum(structures));
    for (const block of blocks) committed = rows.put(blockKey(block.first), block.value);
    const end = events[events.length - 1]?.position ?? this.#log.head;
    committed = this.#index.put(end, ids) ?? committed;
    return committed && Promise.all([committed, rows.flushed]);
  }

  #done(commit: Commit, blocks: readonly EncodedBlock[], ids: ForgottenIds): void {
    if (blocks.length === 0) return;
    this.#log.head = commit.events[commit.events.length - 1]!.position;
    this.#unflushed = [];
    this.#log.ids = ids;
    for (const block of blocks) this.#index.add(block);
    this.#acknowledged.write(this.#log.head);
    this.#tail.publish(commit.events);
  }

  /** Takes back what a failed commit did in memory. Duplicates may rest on what it wrote: they fail with it. */
  #undo(commit: Commit, error: CloudosError): readonly Outcome[] {
    this.#log.ledger.removeLast(commit.events);
    this.#unflushed = [];
    this.#index.failed();
    return commit.outcomes.map((outcome) => ('error' in outcome ? outcome : { request: outcome.request, error }));
  }

  /** Some event cannot be encoded or is too large: refuses the appends with such, and puts the others back in line. */
  #refuseUnstorable(commit: Commit): readonly Outcome[] {
    this.#log.ledger.removeLast(commit.events);
    this.#unflushed = [];
    this.#inFlight -= commit.events.length;
    const refused: Outcome[] = [];
    const again: Request[] = [];
    for (const outcome of commit.outcomes) {
      const { request } = outcome;
      const error = request.measured ? undefined : unstorable(this.#log.codec, request.stream, request.events);
      request.measured = true;
      if (error) refused.push({ request, error });
      else again.push(request);
    }
    for (const request of again) this.#queuedEvents += request.events.length;
    this.#queue.unshift(...again);
    (commit.events as RecordedEvent[]).length = 0;
    return refused;
  }

  #full(): CloudosError {
    return new CloudosError(
      'LOG_FULL',
      `${this.#directory}: less than ${reserveBytes} bytes would be left on its disk`,
    );
  }

  async #failed(error: unknown): Promise<CloudosError> {
    const failure = await commitFailure(this.#directory, error);
    if (failure.code !== 'LOG_FULL') {
      this.#failure = failure;
      this.#onFailure(failure);
    }
    return failure;
  }

  /** The ledger counts what is being committed as well. */
  #durableRevision(stream: string): number {
    let revision = this.#log.ledger.revision(stream);
    for (const event of this.#unflushed) if (event.stream === stream) revision--;
    return revision;
  }

  #assertRoom(events: number): void {
    const waiting = this.#queuedEvents + this.#inFlight;
    if (this.#queue.length < appendsInFlightMax && (waiting === 0 || waiting + events <= eventsInFlightMax)) return;
    throw new CloudosError(
      'LOG_OVERLOADED',
      `${this.#queue.length} appends with ${waiting} events wait, expected at most ${appendsInFlightMax} with ${eventsInFlightMax}`,
    );
  }

  #assertOpen(): void {
    if (this.#closing) throw new CloudosError('LOG_CLOSED', `the log ${this.#directory} was closed`);
  }
}

function tell(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    if ('error' in outcome) outcome.request.reject(outcome.error);
    else outcome.request.resolve(outcome.result);
  }
}
