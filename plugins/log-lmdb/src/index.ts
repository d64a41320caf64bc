export { blockEventsMax } from './block.codec.ts';
export { appendsInFlightMax, commitDeadlineMs, commitEventsMax, eventsInFlightMax } from './committer.ts';
export { reserveBytes } from './disk-space.ts';
export { LmdbEventLog, type LmdbEventLogOptions } from './lmdb.log.ts';
export { default } from './plugin.ts';
export { type LogReader, openLogReader } from './reader.ts';
export { appendBytesMax, eventBytesMax } from './unstorable.ts';
