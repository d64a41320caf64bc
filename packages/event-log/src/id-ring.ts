import { type ForgottenIds, noteId } from './forgotten-ids.ts';

const idLength = 36;
const wordsPerId = 4;
/** Where the hexadecimal digits of a UUID begin that make up its 16-bit parts. */
const partsAt = [0, 4, 9, 14, 19, 24, 28, 32] as const;
const dashesAt = [8, 13, 18, 23] as const;
const dash = 45;
const notHex = 255;
const digits = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));
/** The value of a hexadecimal digit by its character code. */
const digitOf = new Uint8Array(128).fill(notHex);
for (const [value, code] of digits.entries()) digitOf[code] = value;

/**
 * Ids in a ring, UUIDv7 as the numbers that they are: a hundred thousand texts that are dropped one by one would each
 * have to be moved, marked and swept by the garbage collector. Whatever else an id is stays a text.
 */
export class IdRing {
  readonly #size: number;
  #words = new Uint32Array(0);
  /** What is no UUIDv7 in its canonical form, by slot. */
  readonly #texts = new Map<number, string>();
  /** The greatest UUIDv7 that was forgotten, as words; zero when there is none. */
  readonly #greatest = new Uint32Array(wordsPerId);
  readonly #forgottenTexts = { greatest: '', others: false };
  readonly #parsed = new Uint32Array(wordsPerId);

  constructor(size: number) {
    this.#size = size;
  }

  set(slot: number, id: string): void {
    if (this.#words.length === 0) this.#words = new Uint32Array(this.#size * wordsPerId);
    if (this.#texts.size > 0) this.#texts.delete(slot);
    const at = slot * wordsPerId;
    if (!parse(id, this.#parsed)) {
      this.#words[at + 1] = 0; // no version: there is a text
      this.#texts.set(slot, id);
      return;
    }
    for (let index = 0; index < wordsPerId; index++) this.#words[at + index] = this.#parsed[index]!;
  }

  at(slot: number): string {
    const text = this.#texts.get(slot);
    return text ?? textOf(this.#words, slot * wordsPerId);
  }

  /** Takes note of the id in a slot that is about to get another one. */
  forget(slot: number): void {
    const text = this.#texts.size > 0 ? this.#texts.get(slot) : undefined;
    if (text !== undefined) return noteId(this.#forgottenTexts, text);
    const words = this.#words;
    const at = slot * wordsPerId;
    for (let index = 0; index < wordsPerId; index++) {
      const word = words[at + index]!;
      const greatest = this.#greatest[index]!;
      if (word < greatest) return;
      if (word > greatest) break;
    }
    for (let index = 0; index < wordsPerId; index++) this.#greatest[index] = words[at + index]!;
  }

  /** What was forgotten so far has in common. */
  forgotten(): ForgottenIds {
    const ids = { ...this.#forgottenTexts };
    if (this.#greatest[1] !== 0) noteId(ids, textOf(this.#greatest, 0));
    return ids;
  }
}

/** Reads a UUIDv7 as lowercase text into four words. False when it is none. */
function parse(id: string, into: Uint32Array): boolean {
  if (id.length !== idLength || id.charCodeAt(14) !== 55) return false;
  for (const at of dashesAt) if (id.charCodeAt(at) !== dash) return false;
  let bad = 0;
  for (let part = 0; part < partsAt.length; part += 2) {
    let word = 0;
    for (let half = part; half < part + 2; half++) {
      const begin = partsAt[half]!;
      for (let at = begin; at < begin + 4; at++) {
        const code = id.charCodeAt(at);
        const value = code < 128 ? digitOf[code]! : notHex;
        bad |= value;
        word = (word << 4) | (value & 15);
      }
    }
    into[part >> 1] = word >>> 0;
  }
  return bad < 16;
}

const codes = new Array<number>(idLength).fill(dash);

function textOf(words: Uint32Array, at: number): string {
  for (let part = 0; part < partsAt.length; part++) {
    const word = words[at + (part >> 1)]!;
    let half = part % 2 === 0 ? word >>> 16 : word & 0xffff;
    const begin = partsAt[part]!;
    for (let index = begin + 3; index >= begin; index--) {
      codes[index] = digits[half & 15]!;
      half >>>= 4;
    }
  }
  return String.fromCharCode.apply(null, codes);
}
