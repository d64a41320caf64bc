import { V7Generator } from 'uuidv7';
import type { IdSource } from './clock.ts';

/** Random words drawn at once: asking the system for each id by itself costs more than all the rest of it. */
const wordsAtOnce = 2_048;

const words = new Uint32Array(wordsAtOnce);
let next = wordsAtOnce;

const generator = new V7Generator({
  nextUint32() {
    if (next === wordsAtOnce) {
      crypto.getRandomValues(words);
      next = 0;
    }
    return words[next++] as number;
  },
});

/** A UUIDv7 of this machine's clock and randomness (RFC 9562), increasing within the process. */
export const newId: IdSource = () => textOf(generator.generate().bytes);

const digits = Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
/** Character codes of the first and the second hexadecimal digit of a byte. */
const high = Uint8Array.from({ length: 256 }, (_, byte) => digits[byte >> 4] as number);
const low = Uint8Array.from({ length: 256 }, (_, byte) => digits[byte & 15] as number);
const dash = 45;
/** The characters of the id that is being made. */
const codes = new Array<number>(36).fill(dash);

/**
 * The text of a UUID, made in one call: every event gets an id, and a text put together of parts costs four times as
 * much to make and again when it is first compared.
 */
function textOf(bytes: Readonly<Uint8Array>): string {
  let at = 0;
  for (let index = 0; index < 16; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) at++;
    const byte = bytes[index] as number;
    codes[at++] = high[byte] as number;
    codes[at++] = low[byte] as number;
  }
  return String.fromCharCode.apply(null, codes);
}
