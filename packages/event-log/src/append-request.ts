import { CloudosError, type EventMeta, type ExpectedRevision, type NewEvent, type Producer } from '@cloudos/sdk';

/** The most events in one append. */
export const appendEventsMax = 65_536;
/** The longest name of a stream, in UTF-8 bytes. */
export const streamNameBytesMax = 512;

/** The producer of an event that names none. */
export const unknownProducer: Producer = Object.freeze({ plugin: 'unknown', generation: 0 });
const unknownMeta: EventMeta = Object.freeze({ producer: unknownProducer, schema: 1 });

/**
 * Checks the shape of an append before anything is done with it.
 * @throws CloudosError EVENT_INVALID, EVENT_TOO_LARGE, REVISION_CONFLICT
 */
export function assertAppend(stream: string, events: readonly NewEvent[], at: ExpectedRevision): void {
  if (typeof stream !== 'string' || stream === '' || stream.includes('\0')) {
    throw new CloudosError('EVENT_INVALID', `stream ${JSON.stringify(stream)}: expected a name without NUL characters`);
  }
  if (stream.length * 3 > streamNameBytesMax && Buffer.byteLength(stream) > streamNameBytesMax) {
    throw new CloudosError(
      'EVENT_INVALID',
      `stream ${stream.slice(0, 40)}…: the name has ${Buffer.byteLength(stream)} bytes, expected at most ${streamNameBytesMax}`,
    );
  }
  if (events.length === 0) throw new CloudosError('EVENT_INVALID', `append to ${stream}: expected at least one event`);
  if (events.length > appendEventsMax) {
    throw new CloudosError(
      'EVENT_TOO_LARGE',
      `append to ${stream}: ${events.length} events at once, expected at most ${appendEventsMax}`,
    );
  }
  if (at !== 'any' && at !== 'none' && !(Number.isSafeInteger(at) && at >= 0)) {
    throw new CloudosError(
      'REVISION_CONFLICT',
      `append to ${stream}: expected revision ${at} is neither a revision from 0 nor 'none' nor 'any'`,
      { details: { stream, expected: at, actual: null } },
    );
  }
  for (const event of events) {
    if (typeof event.type !== 'string' || event.type === '' || event.data === undefined) {
      throw new CloudosError('EVENT_INVALID', `append to ${stream}: an event needs a type and data`);
    }
  }
}

/** The metadata of an event with what the writer left out filled in. */
export function completeMeta(meta: NewEvent['meta']): EventMeta {
  if (!meta) return unknownMeta;
  if (meta.producer && meta.schema !== undefined) return meta as EventMeta;
  return { ...meta, producer: meta.producer ?? unknownProducer, schema: meta.schema ?? 1 };
}
