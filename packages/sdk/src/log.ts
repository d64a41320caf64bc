import type { Observable } from 'rxjs';
import type { NewEvent, RecordedEvent } from './event.ts';
import type { EventKey } from './event-keys.ts';

/**
 * What a writer expects of the stream: the revision of its last event, `none` (the stream is empty), or `any`.
 * The expected revision is the fence that keeps a replaced writer out.
 */
export type ExpectedRevision = number | 'none' | 'any';

export interface AppendResult {
  /** Global position of the first and the last event of the append. */
  readonly first: number;
  readonly last: number;
  /** Revision of the stream after the append. */
  readonly revision: number;
  /** True when the same ids were in the stream already: nothing was written, the positions are those of the originals. */
  readonly duplicate: boolean;
}

export type Direction = 'forwards' | 'backwards';

/**
 * A part of one stream. Forwards from revision `from` (default the first that is kept), backwards from `from` (default
 * the last) to the first that is kept. A `from` before that one is LOG_TRIMMED.
 */
export interface StreamRange {
  readonly stream: string;
  readonly from?: number;
  readonly direction?: Direction;
  /** At most that many events (default: no limit). */
  readonly limit?: number;
}

/**
 * A part of the whole log, by position. `to` is inclusive. Forwards from `from` (default {@link EventLog.first}) to `to`
 * (default the head), backwards from `from` (default the head) to `to` (default {@link EventLog.first}). A bound that is
 * given and lies before the first position that is kept is LOG_TRIMMED: nothing that was asked for is left out silently.
 */
export interface GlobalRange {
  readonly from?: number;
  readonly to?: number;
  readonly direction?: Direction;
  readonly limit?: number;
  readonly filter?: Filter;
}

/** Which events. Conditions are joined by and; values of one condition by or. `*` at the end matches any rest. */
export interface Filter {
  readonly types?: readonly string[];
  readonly streams?: readonly string[];
  /**
   * Events that have one of these keys. A log answers it, as it does types and streams, without reading all there is,
   * where it keeps an index of them.
   */
  readonly keys?: readonly EventKey[];
}

/**
 * An ordered, durable record of events.
 * Errors: REVISION_CONFLICT, EVENT_TOO_LARGE, LOG_FULL, LOG_CLOSED, LOG_READ_ONLY, LOG_OVERLOADED, LOG_CORRUPT,
 * LOG_TRIMMED.
 */
export interface EventLog {
  /**
   * Appends all events or none. Durable when it resolves (where the log is durable at all). Appending the same ids to the
   * same stream again writes nothing and answers with the original positions, as long as the events are kept: the id of
   * an event that was trimmed counts as new once the log has forgotten it.
   * @throws CloudosError REVISION_CONFLICT with `details: { stream, expected, actual }`
   */
  append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult>;
  /**
   * Reads in batches of at most {@link readBatchMax} events. Reading the log up to the head as it is at the call.
   * @throws CloudosError LOG_TRIMMED, also in the middle when a trim overtakes the reader
   */
  read(range: StreamRange | GlobalRange): AsyncIterable<readonly RecordedEvent[]>;
  /**
   * Catch-up from that position, then live: every matching event at a position >= `from` once, in order.
   * A subscriber that is slow is served from the log at its own pace: `next` is not called again before the promise
   * that {@link Backpressure.ready} returned (if one was given) has resolved. Batches hold at most
   * {@link readBatchMax} events. Completes when the log is closed. Ends with the error LOG_TRIMMED when the next event it
   * has to deliver was trimmed: from the beginning, or because a trim has overtaken a slow subscriber.
   */
  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]>;
  /** Position of the last event, -1 when the log is empty. */
  head(): number;
  /** Position of the oldest event that is kept: 0 before the first trim; head() + 1 when the log is empty. */
  first(): number;
  /** Revision of the last event of the stream, -1 when it is empty. */
  revision(stream: string): Promise<number>;
}

export interface Backpressure {
  /** Called after each batch; the next one is delivered when it has resolved. */
  ready(): Promise<void>;
}

/** The most events in one batch of a read or a subscription. */
export const readBatchMax = 4096;

/** Keeps what a projection or a policy has made of the log up to a position. May be lost: it is a cache. */
export interface SnapshotStore {
  /** The newest snapshot under that key with that version, or undefined. A damaged one counts as absent. */
  load(key: string, version: number): Promise<Snapshot | undefined>;
  /** Replaces the snapshot under that key. `state` is plain data (what structured clone takes, without functions). */
  save(key: string, snapshot: Snapshot): Promise<void>;
  /** Every snapshot that is stored and sound, by key. */
  list(): Promise<readonly SnapshotInfo[]>;
  /** Removes a snapshot. Its owner then has to begin at position 0 again, which a trimmed log does not have. */
  remove(key: string): Promise<void>;
}

/** A snapshot without its state. */
export interface SnapshotInfo {
  readonly key: string;
  readonly version: number;
  readonly position: number;
}

export interface Snapshot {
  readonly version: number;
  /** Every event up to and including this position is in `state`; -1: none, so that nothing may be trimmed. */
  readonly position: number;
  readonly state: unknown;
}

/**
 * Hands out events in the bytes in which they are stored, for a subscriber that decodes them itself: nothing is decoded
 * or encoded on the way. Batches are checked (LOG_CORRUPT, LOG_TRIMMED) and are not upcast: a log whose vocabulary has upcasters
 * hands out none.
 */
export interface StoredEvents {
  /** Name and version of the byte layout: `block-2`. What it is, is described in docs/events-protocol.md. */
  readonly format: string;
  /** What a decoder needs besides the batches, as JSON. Only ever grows; holds for every batch read before. */
  structures(): Uint8Array;
  /**
   * Consecutive batches, from the one that holds position `from` to the last that begins at or before `to`. At least one
   * where there are any, further ones while they do not exceed `bytesMax` in all. The bytes belong to the caller.
   */
  read(from: number, to: number, bytesMax: number): readonly StoredBatch[];
}

/** Consecutive events in stored form: `count` of them from position `first` on. */
export interface StoredBatch {
  readonly first: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** What the `log` slot provides. */
export interface LogProvider extends EventLog {
  /** The events as they are stored, where the log can hand them out. */
  readonly stored?: StoredEvents | undefined;
  readonly snapshots: SnapshotStore;
  /** Reads everything and checks it: checksums, positions and revisions without gap. Never throws for damage. */
  verify(onProgress?: (positions: number) => void): Promise<LogReport>;
  /**
   * Removes events before a position, in whole units of storage: none at or after `before`, perhaps not all before it,
   * never the last event of the log. Durable when it resolves; after a crash in the middle a later trim goes on. Positions
   * and revisions go on unbroken.
   *
   * What is removed must not be needed to rebuild a state: every stored snapshot has to cover it. So `before` is at most
   * one more than the position of the oldest snapshot in the {@link SnapshotStore}, and without a snapshot nothing can be
   * trimmed. A snapshot that nobody will load again is removed first.
   * @throws CloudosError LOG_TRIM_REFUSED naming the position and the snapshot that stands in the way, or that the log
   * cannot be trimmed at all (`supports.trim` of the plugin is false); LOG_READ_ONLY, LOG_CLOSED, LOG_FULL
   */
  trim(before: number): Promise<TrimResult>;
}

export interface TrimResult {
  /** Position of the oldest event that is kept now. */
  readonly first: number;
  /** Events that were removed by this call. */
  readonly removed: number;
}

export interface LogReport {
  readonly ok: boolean;
  /** Events that are kept, from position `first` on. */
  readonly events: number;
  readonly first: number;
  /** Streams, also those whose events were all trimmed. */
  readonly streams: number;
  readonly head: number;
  /** What is wrong, in the order of position. At most 100. */
  readonly damages: readonly LogDamage[];
}

export interface LogDamage {
  /** First position that is affected. */
  readonly position: number;
  /** First position after the damage that is sound again, where known. */
  readonly until?: number;
  readonly reason: string;
}
