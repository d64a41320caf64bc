/** Opcodes of data frames (RFC 6455, 5.2). */
export const opcodes = { text: 1, binary: 2 } as const;

const fin = 0x80;
/** RSV1: the payload is compressed (RFC 7692, 6). */
const compressed = 0x40;

/** Bytes of the header of an unmasked frame with that payload. */
export function frameHeaderBytes(payloadBytes: number): number {
  if (payloadBytes < 126) return 2;
  return payloadBytes < 65_536 ? 4 : 10;
}

/** Writes the header of an unmasked, unfragmented frame; returns where the payload begins. */
export function writeFrameHeader(
  target: Buffer,
  at: number,
  payloadBytes: number,
  opcode: number,
  isCompressed = false,
): number {
  target[at] = fin | opcode | (isCompressed ? compressed : 0);
  if (payloadBytes < 126) {
    target[at + 1] = payloadBytes;
    return at + 2;
  }
  if (payloadBytes < 65_536) {
    target[at + 1] = 126;
    target.writeUInt16BE(payloadBytes, at + 2);
    return at + 4;
  }
  target[at + 1] = 127;
  target.writeUInt32BE(Math.floor(payloadBytes / 2 ** 32), at + 2);
  target.writeUInt32BE(payloadBytes >>> 0, at + 6);
  return at + 10;
}

/** One frame with a payload that is there already. */
export function framed(payload: Uint8Array, opcode: number, isCompressed = false): Buffer {
  const frame = Buffer.allocUnsafe(frameHeaderBytes(payload.length) + payload.length);
  frame.set(payload, writeFrameHeader(frame, 0, payload.length, opcode, isCompressed));
  return frame;
}

/** One text frame. */
export function textFrame(text: string): Buffer {
  const bytes = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(frameHeaderBytes(bytes) + bytes);
  frame.write(text, writeFrameHeader(frame, 0, bytes, opcodes.text));
  return frame;
}
