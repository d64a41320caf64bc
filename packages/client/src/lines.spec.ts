import { describe, expect, it } from 'vitest';
import { bytesOfBase64, jsonLines } from './lines.ts';

function streamOf(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

describe('JSON lines', () => {
  it('come whole however the bytes are cut', async () => {
    const bytes = new TextEncoder().encode('{"a":"ä€"}\n\n{"b":2}\n{"c":3}');
    for (let cut = 0; cut <= bytes.length; cut++) {
      const values = [];
      for await (const value of jsonLines(streamOf(bytes.slice(0, cut), bytes.slice(cut)))) values.push(value);
      expect(values).toEqual([{ a: 'ä€' }, { b: 2 }, { c: 3 }]);
    }
  });

  it('fail on what is not JSON', async () => {
    const read = async () => {
      for await (const _ of jsonLines(streamOf(new TextEncoder().encode('{"a":1}\nnope\n'))));
    };
    await expect(read()).rejects.toThrow(SyntaxError);
  });

  it('carry bytes', () => {
    expect([...bytesOfBase64(Buffer.from([0, 255, 128, 10]).toString('base64'))]).toEqual([0, 255, 128, 10]);
  });
});
