import { CloudosError, messageOf } from '@cloudos/sdk';
import type { BlockCodec } from './block.codec.ts';
import type { PendingAppend } from './pending-append.ts';

/** The largest data of one event, in bytes as stored. */
export const eventBytesMax = 4 * 1024 * 1024;
/** The largest data of all events of one append, in bytes as stored. */
export const appendBytesMax = 64 * 1024 * 1024;

/** Why an append cannot be stored, or undefined when it can: EVENT_TOO_LARGE, EVENT_INVALID. */
export function unstorable(
  codec: BlockCodec,
  { stream, events, isMeasured }: Pick<PendingAppend, 'stream' | 'events' | 'isMeasured'>,
): CloudosError | undefined {
  if (isMeasured) return undefined;
  let total = 0;
  for (const [index, event] of events.entries()) {
    let bytes: number;
    try {
      bytes = codec.dataBytes([event.data, event.meta, event.type, event.id]);
    } catch (error) {
      return new CloudosError(
        'EVENT_INVALID',
        `${event.type} (event ${index} of an append to ${stream}): the data cannot be stored: ${messageOf(error)}`,
        { cause: error },
      );
    }
    total += bytes;
    if (bytes > eventBytesMax) {
      return new CloudosError(
        'EVENT_TOO_LARGE',
        `${event.type} (event ${index} of an append to ${stream}): ${bytes} bytes, expected at most ${eventBytesMax}`,
      );
    }
  }
  if (total <= appendBytesMax) return undefined;
  return new CloudosError(
    'EVENT_TOO_LARGE',
    `append of ${events.length} events to ${stream}: ${total} bytes, expected at most ${appendBytesMax}`,
  );
}
