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
export const newId: IdSource = () => generator.generate().toString();
