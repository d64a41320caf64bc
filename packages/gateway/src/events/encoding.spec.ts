import { BatchDecoder, batchHeaderBytes } from '@cloudos/client';
import type { RecordedEvent, StoredBatch } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { rowsMessages, storedMessageMaxBytes, storedMessages } from './encoding.ts';

/** The payloads of frames that follow each other, none of them masked or compressed. */
function payloadsOf(frames: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  for (let at = 0; at < frames.length; ) {
    const short = frames.readUInt8(at + 1);
    const length = short < 126 ? short : short === 126 ? frames.readUInt16BE(at + 2) : frames.readUInt32BE(at + 6);
    at += short < 126 ? 2 : short === 126 ? 4 : 10;
    payloads.push(frames.subarray(at, at + length));
    at += length;
  }
  return payloads;
}

describe('messages of the compact subprotocol', () => {
  it('hold as many stored batches as fit, and one that is larger by itself', () => {
    const sizes = [7_000, 7_000, 7_000, 40_000, 100];
    const batches = sizes.map((size, at): StoredBatch => {
      return { first: at * 64, count: 64, bytes: new Uint8Array(size).fill(at) };
    });
    const payloads = payloadsOf(storedMessages('compact', batches, 10));
    const told = payloads.map((payload) => {
      const headers: number[][] = [];
      for (let at = 0; at < payload.length; ) {
        const bytes = payload.readUInt32LE(at);
        const covers = [payload.readUInt16LE(at + 6), payload.readDoubleLE(at + 8), payload.readDoubleLE(at + 16)];
        headers.push([bytes, ...covers]);
        const content = payload.subarray(at + batchHeaderBytes, at + batchHeaderBytes + bytes);
        expect(content.every((byte) => byte === Math.floor((covers[2] as number) / 64))).toBe(true);
        at += batchHeaderBytes + bytes;
      }
      return headers;
    });
    expect(told).toEqual([
      [
        [7_000, 54, 10, 63],
        [7_000, 64, 64, 127],
      ],
      [[7_000, 64, 128, 191]],
      [[40_000, 64, 192, 255]],
      [[100, 64, 256, 319]],
    ]);
    expect(payloads.filter(({ length }) => length > storedMessageMaxBytes)).toHaveLength(1);
  });

  it('hold a few dozen rows, and cover every position in between', () => {
    const meta = { producer: { plugin: 'x', generation: 1 }, schema: 1 };
    const events = Array.from({ length: 100 }, (_, n): RecordedEvent => {
      const position = n * 3;
      return { position, stream: 's', revision: n, id: `${n}`, type: 'T', time: n, data: { n }, meta };
    });
    const decoder = new BatchDecoder();
    const batches = payloadsOf(rowsMessages('compact', events, 400)).map((payload) => decoder.decode(payload));
    expect(batches.length).toBeGreaterThan(2);
    expect(batches.flatMap((batch) => batch.events)).toEqual(events);
    expect(batches.at(-1)?.last).toBe(400);
    for (const batch of batches.slice(0, -1)) expect(batch.last).toBe(batch.events.at(-1)?.position);
  });
});
