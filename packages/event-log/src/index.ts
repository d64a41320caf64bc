export {
  AppendLedger,
  type KnownEvent,
  revisionConflict,
  type SearchResult,
  type Verdict,
} from './append-ledger.ts';
export { appendEventsMax, assertAppend, completeMeta, streamNameBytesMax, unknownProducer } from './append-request.ts';
export { deepFreeze } from './deep-freeze.ts';
export { exportLog } from './export.ts';
export { compileFilter, type EventPredicate } from './filter.ts';
export { type ForgottenIds, isForgotten, mergeIds, noteId, nothingForgotten } from './forgotten-ids.ts';
export { type IdAnswer, IdWindow, idWindowMin } from './id-window.ts';
export { type ImportResult, importAppendMax, importInFlightMax, importLineMax, importLog } from './import.ts';
export { MemoryEventLog, type MemoryEventLogOptions } from './memory.log.ts';
export { MemorySnapshots } from './memory-snapshots.ts';
export {
  LiveProjection,
  type Projected,
  type Projection,
  type ProjectOptions,
  project,
  saveSnapshot,
} from './projection.ts';
export { type Bounds, boundsOf, isStreamRange, trimmed } from './range.ts';
export { type SchemaOptions, withSchemas } from './schemas.log.ts';
export { SegmentSeeker, type SummarySource, streamNamesMax } from './segment-seeker.ts';
export { bucketPositions, segmentOf, segmentPositions, summarize } from './segment-summary.ts';
export { type SubscriptionSource, subscribeTo } from './subscription.ts';
export { LogTail, type TailReader, tailEventsMax } from './tail.ts';
export { assertTrim } from './trim-rule.ts';
export { type Upcast, Upcasters } from './upcasters.ts';
