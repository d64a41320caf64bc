import type { IdSource } from './clock.ts';

/** Random words drawn at once: asking the system for each id by itself costs more than all the rest of it. */
const wordsAtOnce = 2_048;

const words = new Uint32Array(wordsAtOnce);
let next = wordsAtOnce;

function randomWord(): number {
  if (next === wordsAtOnce) {
    crypto.getRandomValues(words);
    next = 0;
  }
  return words[next++] as number;
}

/** A clock that was set back by more than that is followed: ids then begin anew, smaller than those before. */
const rollbackMaxMs = 10_000;
const twelveBits = 2 ** 12;
const thirtyBits = 2 ** 30;

/** The time in the last id, in epoch milliseconds. */
let time = 0;
/** The counter in the last id: 12 bits (`rand_a`), and the 30 bits after the variant. */
let high = 0;
let low = 0;

/**
 * A UUIDv7 of this machine's clock and randomness (RFC 9562), increasing within the process: 48 bits of time, a counter
 * of 42 bits that begins at random each millisecond, 32 random bits (method 1 of section 6.2). Made without an object on
 * the way: every event gets one.
 */
export const newId: IdSource = () => {
  const now = Date.now();
  if (now > time || now + rollbackMaxMs < time) restart(now);
  else if (++low === thirtyBits) {
    low = 0;
    if (++high === twelveBits) restart(time + 1);
  }
  return textOf(time, high, low, randomWord());
};

/** The counter begins in the lower half of its range, so that there is room for what a millisecond brings. */
function restart(at: number): void {
  time = at;
  high = randomWord() & (twelveBits / 2 - 1);
  low = randomWord() & (thirtyBits - 1);
}

const digits = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
const dash = 45;
const seven = 55;
/** The characters of the id that is being made. */
const codes = new Array<number>(36).fill(dash);
codes[14] = seven;

/** Made in one call: a text put together of parts costs four times as much to make and again when it is first compared. */
function textOf(timeMs: number, counterHigh: number, counterLow: number, random: number): string {
  const timeLow = timeMs % 0x10000;
  writeHex(Math.floor(timeMs / 0x10000), 0, 8);
  writeHex(timeLow, 9, 4);
  writeHex(counterHigh, 15, 3);
  const variant = 0x8000 | (counterLow >>> 16);
  writeHex(variant, 19, 4);
  writeHex(counterLow & 0xffff, 24, 4);
  writeHex(random, 28, 8);
  return String.fromCharCode.apply(null, codes);
}

function writeHex(value: number, at: number, length: number): void {
  let left = value;
  for (let index = at + length - 1; index >= at; index--) {
    codes[index] = digits[left & 15] as number;
    left >>>= 4;
  }
}
