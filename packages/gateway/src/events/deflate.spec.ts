import { inflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { deflated, deflateOffers, deflateWindowBits } from './deflate.ts';

describe('permessage-deflate', () => {
  it.each([
    // Chromium, Python's websockets, ws.
    ['permessage-deflate; client_max_window_bits', true],
    // Firefox.
    ['permessage-deflate', true],
    // Go's gorilla and coder.
    ['permessage-deflate; server_no_context_takeover; client_no_context_takeover', true],
    ['permessage-deflate; server_max_window_bits=15; client_max_window_bits=10', true],
    ['permessage-deflate; server_max_window_bits=10', false],
    ['permessage-deflate; server_max_window_bits=10, permessage-deflate', true],
    ['permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits=10', true],
    ['permessage-deflate; client_max_window_bits=20, permessage-deflate', true],
    ['permessage-deflate; colour=red', false],
    // Not in order: the package would refuse the handshake for them.
    ['permessage-deflate; client_max_window_bits=20', false],
    ['permessage-deflate; server_max_window_bits=16', false],
    ['permessage-deflate; server_max_window_bits', false],
    ['permessage-deflate; server_no_context_takeover=1', false],
    ['permessage-deflate; client_max_window_bits; client_max_window_bits', false],
    ['permessage-deflate; ;', false],
    ['x-webkit-deflate-frame', false],
    [undefined, false],
  ])('%s is taken: %s', (offer, taken) => expect(deflateOffers(offer) !== undefined).toBe(taken));

  it('leaves what can be taken of several offers', () => {
    const good = 'permessage-deflate; client_max_window_bits=10';
    expect(deflateOffers(`permessage-deflate; server_max_window_bits=16, x-other,${good}`)).toBe(good);
  });

  it('makes messages that unfold by themselves, within the window that was agreed on', () => {
    for (const bytes of [1, 600, 5_000, 300_000]) {
      const payload = Buffer.from(Array.from({ length: bytes }, (_, at) => (at * at) % 251));
      const whole = Buffer.concat([deflated(payload), Buffer.from([0, 0, 0xff, 0xff])]);
      const finishFlush = 2;
      expect(inflateRawSync(whole, { windowBits: deflateWindowBits, finishFlush }).equals(payload)).toBe(true);
    }
  });
});
