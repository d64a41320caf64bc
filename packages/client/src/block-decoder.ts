import type { EventMeta, RecordedEvent } from '@cloudos/sdk';
import { Unpackr } from 'msgpackr/unpack';

const headerBytes = 24;
const idBytes = 36;
const plainIdsFlag = 2;
/** How many stream names a decoder remembers. */
const namesMax = 4096;

/** A column of numbers; a single number where all are the same. */
type Column = number | readonly number[];

type Body = readonly [
  types: readonly string[],
  metas: readonly EventMeta[],
  baseTime: number,
  times: Column,
  typeOf: Column,
  metaOf: Column,
  data: readonly unknown[],
  ids: readonly string[] | null,
];

/**
 * Decodes events in the stored form of the embedded log (`block-2`, see docs/events-protocol.md): a header with the
 * streams and their revisions, then columns in MessagePack whose record structures are sent apart.
 * The checksum is not looked at: the server has, and the transport has its own.
 */
export class BlockDecoder {
  #structures: unknown[] = [];
  readonly #unpackr = new Unpackr({
    getStructures: () => this.#structures,
    maxSharedStructures: 256,
  } as ConstructorParameters<typeof Unpackr>[0]);
  readonly #text = new TextDecoder();
  readonly #names = new Map<string, string>();

  /** Takes the structures that later batches use: a JSON array of lists of property names. */
  learn(structures: string): void {
    this.#structures = JSON.parse(structures) as unknown[];
  }

  decode(block: Uint8Array): RecordedEvent[] {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    const count = view.getUint16(6, true);
    const first = view.getFloat64(8, true);
    const streamCount = view.getUint16(16, true);
    let at = headerBytes + view.getUint8(18);
    const streams = new Array<string>(streamCount);
    const next = new Array<number>(streamCount);
    for (let index = 0; index < streamCount; index++) {
      const nameBytes = view.getUint16(at, true);
      next[index] = view.getUint32(at + 2, true) + view.getUint16(at + 6, true) * 2 ** 32;
      streams[index] = this.#name(block, at + 10, at + 10 + nameBytes);
      at += 10 + nameBytes;
    }
    const orderAt = at;
    const idsAt = at + count;
    const plain = (view.getUint8(5) & plainIdsFlag) !== 0;
    const bodyAt = plain ? idsAt + count * idBytes : idsAt;
    // Plain ids are ASCII.
    const ids = plain ? this.#text.decode(block.subarray(idsAt, bodyAt)) : undefined;
    const body = this.#unpackr.unpack(block.subarray(bodyAt)) as Body;
    const [types, metas, baseTime, times, typeOf, metaOf, data] = body;
    if (data.length !== count) throw new Error(`a stored batch holds ${data.length} events, its header says ${count}`);
    const events = new Array<RecordedEvent>(count);
    for (let index = 0; index < count; index++) {
      const which = block[orderAt + index] as number;
      const revision = next[which] as number;
      next[which] = revision + 1;
      events[index] = {
        position: first + index,
        stream: streams[which] as string,
        revision,
        id: ids === undefined ? (body[7]?.[index] as string) : ids.substring(index * idBytes, (index + 1) * idBytes),
        type: types[typeof typeOf === 'number' ? typeOf : (typeOf[index] as number)] as string,
        time: baseTime + (typeof times === 'number' ? times : (times[index] as number)),
        data: data[index],
        meta: metas[typeof metaOf === 'number' ? metaOf : (metaOf[index] as number)] as EventMeta,
      };
    }
    return events;
  }

  /** Names repeat: a key made of the bytes finds the string that was made before. */
  #name(block: Uint8Array, from: number, to: number): string {
    let key = '';
    for (let at = from; at < to; at++) key += String.fromCharCode(block[at] as number);
    let name = this.#names.get(key);
    if (name === undefined) {
      name = this.#text.decode(block.subarray(from, to));
      if (this.#names.size >= namesMax) this.#names.clear();
      this.#names.set(key, name);
    }
    return name;
  }
}
