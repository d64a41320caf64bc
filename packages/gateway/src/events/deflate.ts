import { constants, deflateRawSync } from 'node:zlib';

/** Payloads below that many bytes are sent as they are. */
export const deflateMinBytes = 512;
/** Bits of the window: what a client has to keep to read us, and 2^(bits + 2) bytes of ours while a frame is made. */
export const deflateWindowBits = 12;

/**
 * A payload as permessage-deflate wants it (RFC 7692, 7.2.1), without context: the same bytes serve every subscriber,
 * and nothing is kept between two frames.
 */
export function deflated(payload: Uint8Array): Uint8Array {
  const bytes = deflateRawSync(payload, {
    windowBits: deflateWindowBits,
    // Room for all of it: the default, 16 KiB for each of many small messages, is garbage that has to be collected.
    chunkSize: Math.max(constants.Z_MIN_CHUNK, payload.length),
    memLevel: 5,
    level: 3,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  return bytes.subarray(0, bytes.length - 4);
}

/**
 * What is negotiated when a client asks for compression: no context in either direction, so that a connection keeps no
 * state of ours, and what comes in is bounded by the message size as it unfolds. The window of a client is its own
 * choice: many cannot bound theirs (RFC 7692, 7.1.2.2), and ours for reading it is there only while a message is read.
 */
export const deflateOptions = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: deflateWindowBits,
  threshold: deflateMinBytes,
  concurrencyLimit: 4,
} as const;

/** Whether an offer of extensions can be taken with {@link deflateOptions}: one that can not is passed over. */
export function offersDeflate(header: string | undefined): boolean {
  if (header === undefined) return false;
  return header.split(',').some((offer) => {
    const [name, ...parameters] = offer.split(';').map((part) => part.trim().toLowerCase());
    if (name !== 'permessage-deflate') return false;
    return parameters.every((parameter) => {
      const [key, value] = parameter.split('=').map((part) => part.trim().replaceAll('"', ''));
      if (key === 'server_max_window_bits') return Number(value) >= deflateWindowBits;
      if (key === 'client_max_window_bits') return true;
      return key === 'server_no_context_takeover' || key === 'client_no_context_takeover';
    });
  });
}
