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

/**
 * The offers of extensions that can be taken with {@link deflateOptions}; undefined: none. Others are passed over, also those
 * that are not in order (RFC 7692, 7: such an offer is declined), for which the package would refuse the handshake.
 */
export function deflateOffers(header: string | undefined): string | undefined {
  const offers = (header ?? '').split(',').filter(isTakable);
  return offers.length > 0 ? offers.join(',') : undefined;
}

function isTakable(offer: string): boolean {
  const [name, ...parameters] = offer.split(';').map((part) => part.trim());
  if (name?.toLowerCase() !== 'permessage-deflate') return false;
  const keys = parameters.map((parameter) => parameter.split('=')[0]?.trim());
  if (new Set(keys).size < keys.length) return false;
  return parameters.every((parameter) => {
    const [key, value] = parameter.split('=').map((part) => part.trim().replaceAll('"', ''));
    if (key === 'server_max_window_bits') return isWindow(value) && Number(value) >= deflateWindowBits;
    if (key === 'client_max_window_bits') return value === undefined || isWindow(value);
    return (key === 'server_no_context_takeover' || key === 'client_no_context_takeover') && value === undefined;
  });
}

/** RFC 7692, 7.1.2: 8 to 15, without leading zeros. */
function isWindow(bits: string | undefined): boolean {
  return /^([89]|1[0-5])$/.test(bits ?? '');
}
