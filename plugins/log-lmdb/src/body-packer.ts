/** Keys of a record structure that blocks share, with the bytes that stand for it. */
interface Shape {
  readonly keys: readonly string[];
  readonly id: number;
  /** The second byte of the id, -1 where one is enough. */
  readonly high: number;
  /** What was seen under each key. */
  readonly places: readonly Place[];
}

/** A place in the data of events: which shapes objects had there, and what lies in an array there. */
interface Place {
  readonly shapes: Shape[];
  element: Place | undefined;
}

/** Shapes that a place remembers. */
const shapesMax = 8;
/** Shapes that are remembered in all; then everything is learnt anew. */
const shapesInAllMax = 16_384;
/** Longer strings are written by the runtime. */
const shortMax = 48;
const firstId = 0x40;
const firstTwoByteId = 0x60;
/** Room that is left behind whatever is written next: the longest head of a value. */
const slack = 16;

const loneSurrogate = /\p{Surrogate}/u;

/** What cannot be written here. */
const unknown = Symbol('unknown');

/**
 * Packs the body of a block as msgpackr does with its shared structures, several times as fast for what it has seen
 * before: objects in the same place mostly have the same keys, so it compares those instead of looking each of them up.
 * It makes no structures itself: what has a new one, or is no plain data, is left to msgpackr.
 */
export class BodyPacker {
  readonly #structures: () => readonly (readonly string[])[];
  readonly #places = new Map<string, Place>();
  readonly #known = new Map<string, Shape>();
  #knownCount = 0;
  #shapes = 0;
  #target: Buffer = Buffer.allocUnsafeSlow(256 * 1024);
  #at = 0;

  /** @param structures all that are shared so far, the place is the id */
  constructor(structures: () => readonly (readonly string[])[]) {
    this.#structures = structures;
  }

  /**
   * The columns of a block: what stands under a type is at the place of that type.
   * @returns the bytes, valid until the next call; undefined when msgpackr has to pack them
   */
  pack(columns: readonly unknown[], data: readonly unknown[], typeOf: (index: number) => string): Buffer | undefined {
    this.#at = 0;
    try {
      this.#arrayHead(columns.length);
      for (const column of columns) {
        if (column === data) this.#data(data, typeOf);
        else this.#value(column, this.#placeOf(''));
      }
    } catch (error) {
      if (error === unknown) return undefined;
      throw error;
    }
    return this.#target.subarray(0, this.#at);
  }

  #data(data: readonly unknown[], typeOf: (index: number) => string): void {
    this.#arrayHead(data.length);
    let type = '';
    let place: Place | undefined;
    for (let index = 0; index < data.length; index++) {
      const next = typeOf(index);
      if (next !== type || !place) {
        type = next;
        place = this.#placeOf(type);
      }
      this.#value(data[index], place);
    }
  }

  #placeOf(type: string): Place {
    let place = this.#places.get(type);
    if (!place) {
      place = newPlace();
      this.#places.set(type, place);
    }
    return place;
  }

  #value(value: unknown, place: Place): void {
    if (this.#target.length - this.#at < slack) this.#grow(slack);
    if (typeof value === 'string') this.#string(value);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'object') {
      if (value === null) this.#target[this.#at++] = 0xc0;
      else if (Array.isArray(value)) this.#array(value, place);
      else if (Object.getPrototypeOf(value) === Object.prototype) this.#record(value as Record<string, unknown>, place);
      else throw unknown;
    } else if (value === true) this.#target[this.#at++] = 0xc3;
    else if (value === false) this.#target[this.#at++] = 0xc2;
    else if (value === undefined) {
      this.#target[this.#at++] = 0xd4;
      this.#target[this.#at++] = 0;
      this.#target[this.#at++] = 0;
    } else throw unknown;
  }

  #array(values: readonly unknown[], place: Place): void {
    if (Object.getPrototypeOf(values) !== Array.prototype) throw unknown;
    place.element ??= newPlace();
    this.#arrayHead(values.length);
    for (let index = 0; index < values.length; index++) this.#value(values[index], place.element);
  }

  #record(record: Record<string, unknown>, place: Place): void {
    const start = this.#at;
    for (const shape of place.shapes) {
      if (this.#writeAs(shape, record)) return;
      this.#at = start;
    }
    const shape = this.#shapeOf(record);
    if (place.shapes.length >= shapesMax) place.shapes.length = 0;
    place.shapes.unshift(shape);
    if (!this.#writeAs(shape, record)) throw unknown;
  }

  /** False, with something half written, when the record has other keys. */
  #writeAs({ keys, places, id, high }: Shape, record: Record<string, unknown>): boolean {
    if (this.#target.length - this.#at < slack) this.#grow(slack);
    this.#target[this.#at++] = id;
    if (high >= 0) this.#target[this.#at++] = high;
    let index = 0;
    for (const key in record) {
      if (key !== keys[index]) return false;
      this.#value(record[key], places[index]!);
      index++;
    }
    return index === keys.length;
  }

  #shapeOf(record: Record<string, unknown>): Shape {
    const structures = this.#structures();
    for (; this.#knownCount < structures.length; this.#knownCount++) {
      const shape = newShape(structures[this.#knownCount]!, this.#knownCount);
      this.#known.set(shape.keys.join('\0'), shape);
    }
    const known = this.#known.get(Object.keys(record).join('\0'));
    if (!known) throw unknown;
    if (++this.#shapes > shapesInAllMax) {
      this.#shapes = 0;
      this.#places.clear();
    }
    // Each place learns for itself what lies below.
    return { ...known, places: known.keys.map(newPlace) };
  }

  #arrayHead(length: number): void {
    if (this.#target.length - this.#at < slack) this.#grow(slack);
    if (length < 0x10) this.#target[this.#at++] = 0x90 | length;
    else if (length < 0x10000) {
      this.#target[this.#at++] = 0xdc;
      this.#target[this.#at++] = length >> 8;
      this.#target[this.#at++] = length & 0xff;
    } else {
      this.#target[this.#at++] = 0xdd;
      this.#at = this.#target.writeUInt32BE(length, this.#at);
    }
  }

  #number(value: number): void {
    const target = this.#target;
    if (value >>> 0 === value) {
      if (value < firstId) target[this.#at++] = value;
      else if (value < 0x100) {
        target[this.#at++] = 0xcc;
        target[this.#at++] = value;
      } else if (value < 0x10000) {
        target[this.#at++] = 0xcd;
        target[this.#at++] = value >> 8;
        target[this.#at++] = value & 0xff;
      } else {
        target[this.#at++] = 0xce;
        this.#at = target.writeUInt32BE(value, this.#at);
      }
    } else if (value >> 0 === value) {
      target[this.#at++] = 0xd2;
      this.#at = target.writeInt32BE(value, this.#at);
    } else {
      target[this.#at++] = 0xcb;
      this.#at = target.writeDoubleBE(value, this.#at);
    }
  }

  #string(text: string): void {
    const { length } = text;
    if (this.#target.length - this.#at < length * 3 + slack) this.#grow(length * 3 + slack);
    const target = this.#target;
    if (length <= shortMax) {
      const start = this.#at + (length < 0x20 ? 1 : 2);
      let index = 0;
      for (; index < length; index++) {
        const code = text.charCodeAt(index);
        if (code > 127) break;
        target[start + index] = code;
      }
      if (index === length) {
        if (length < 0x20) target[this.#at] = 0xa0 | length;
        else {
          target[this.#at] = 0xd9;
          target[this.#at + 1] = length;
        }
        this.#at = start + length;
        return;
      }
    }
    // A surrogate by itself has no UTF-8.
    if (loneSurrogate.test(text)) throw unknown;
    const head = length < 0x100 / 3 ? 2 : length < 0x10000 / 3 ? 3 : 5;
    const bytes = target.write(text, this.#at + head, 'utf8');
    if (head === 2) target[this.#at] = 0xd9;
    else target[this.#at] = head === 3 ? 0xda : 0xdb;
    target.writeUIntBE(bytes, this.#at + 1, (head - 1) as 1 | 2 | 4);
    this.#at += head + bytes;
  }

  #grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow((this.#target.length + bytes) * 2);
    this.#target.copy(larger, 0, 0, this.#at);
    this.#target = larger;
  }
}

function newPlace(): Place {
  return { shapes: [], element: undefined };
}

function newShape(keys: readonly string[], index: number): Shape {
  const id = firstId + index;
  const [low, high] =
    id < firstTwoByteId ? [id, -1] : [((id - firstTwoByteId) & 0x1f) + firstTwoByteId, (id - firstTwoByteId) >> 5];
  return { keys, id: low, high, places: [] };
}
