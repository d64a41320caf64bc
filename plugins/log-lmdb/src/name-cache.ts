const slots = 8192;

/** Reads names from bytes and gives the same string object for the same name, mostly without making one. */
export class NameCache {
  readonly #names = new Array<string>(slots).fill('');

  read(bytes: Buffer, start: number, end: number): string {
    let hash = end - start;
    for (let index = start; index < end; index++) hash = (Math.imul(hash, 31) + bytes[index]!) | 0;
    const slot = (hash ^ (hash >>> 13)) & (slots - 1);
    const known = this.#names[slot]!;
    if (known.length === end - start && isSame(known, bytes, start)) return known;
    const name = bytes.toString('utf8', start, end);
    this.#names[slot] = name;
    return name;
  }
}

/** True only for names of ASCII characters: those of others differ in length. */
function isSame(name: string, bytes: Buffer, start: number): boolean {
  for (let index = 0; index < name.length; index++) {
    const byte = bytes[start + index]!;
    if (byte > 127 || name.charCodeAt(index) !== byte) return false;
  }
  return true;
}
