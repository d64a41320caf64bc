import type { Observable } from 'rxjs';
import type { NewEvent, RecordedEvent } from './event.ts';

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

/** A part of one stream. Forwards from revision `from` (default 0), backwards from `from` (default the last). */
export interface StreamRange {
  readonly stream: string;
  readonly from?: number;
  readonly direction?: Direction;
  /** At most that many events (default: no limit). */
  readonly limit?: number;
}

/** A part of the whole log, by position. `to` is inclusive. */
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
}

/**
 * An ordered, durable record of events.
 * Errors: REVISION_CONFLICT, EVENT_TOO_LARGE, LOG_FULL, LOG_CLOSED, LOG_READ_ONLY, LOG_OVERLOADED, LOG_CORRUPT.
 */
export interface EventLog {
  /**
   * Appends all events or none. Durable when it resolves (where the log is durable at all).
   * @throws CloudosError REVISION_CONFLICT with `details: { stream, expected, actual }`
   */
  append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult>;
  /** Reads in batches of at most {@link readBatchMax} events. Reading the log up to the head as it is at the call. */
  read(range: StreamRange | GlobalRange): AsyncIterable<readonly RecordedEvent[]>;
  /**
   * Catch-up from that position, then live: every matching event at a position >= `from` once, in order.
   * A subscriber that is slow is served from the log at its own pace: `next` is not called again before the promise
   * that {@link Backpressure.ready} returned (if one was given) has resolved. Batches hold at most
   * {@link readBatchMax} events. Completes when the log is closed.
   */
  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]>;
  /** Position of the last event, -1 when the log is empty. */
  head(): number;
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
}

export interface Snapshot {
  readonly version: number;
  /** Every event up to and including this position is in `state`. */
  readonly position: number;
  readonly state: unknown;
}

/**
 * Hands out events in the bytes in which they are stored, for a subscriber that decodes them itself: nothing is decoded
 * or encoded on the way. Batches are checked (LOG_CORRUPT) and are not upcast: a log whose vocabulary has upcasters
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
}

export interface LogReport {
  readonly ok: boolean;
  readonly events: number;
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
