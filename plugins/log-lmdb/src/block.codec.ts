import { type ForgottenIds, noteId } from '@cloudos/event-log';
import type { EventMeta, RecordedEvent } from '@cloudos/sdk';
import { Packr } from 'msgpackr';
import type { Arena, BlockMemory, BlockSpace } from './block-space.ts';
import { BodyPacker } from './body-packer.ts';
import { isSound, sealRow } from './checked-row.ts';
import { NameCache } from './name-cache.ts';

/** The most events in a block. */
export const blockEventsMax = 64;

/** A stream in a block: its events there have consecutive revisions. */
export interface BlockStream {
  readonly name: string;
  readonly firstRevision: number;
  readonly count: number;
}

/** What a block says of itself without its events being decoded. */
export interface BlockHeader {
  readonly first: number;
  readonly count: number;
  readonly streams: readonly BlockStream[];
  /** Of all ids of the log up to the end of the block. */
  readonly ids: ForgottenIds;
  readonly orderAt: number;
  readonly idsAt: number;
  readonly bodyAt: number;
}

const formatVersion = 2;
const headerBytes = 24;
/** Characters of an id that goes into the column of ids as plain text, without a length. */
const idBytes = 36;
const flags = { otherIds: 1, plainIds: 2 } as const;

/** A column of numbers; a single number where all are the same. */
type Column = number | readonly number[];

/** The columns of a block's events. Types and metadata are tables with an index for each event. */
type BlockBody = readonly [
  types: readonly string[],
  metas: readonly EventMeta[],
  baseTime: number,
  times: Column,
  typeOf: Column,
  metaOf: Column,
  data: readonly unknown[],
  /** Unless they stand before the body as plain text. */
  ids: readonly string[] | null,
];

/** Keeps the record structures that msgpackr shares between blocks. */
export interface StructureStore {
  load(): Buffer | undefined;
  save(structures: Buffer): void;
}

/**
 * Blocks as bytes: checksum, format, events, first position, streams with revisions, the greatest id so far, which event
 * is of which stream; then the events in columns, as MessagePack with record structures shared between blocks.
 */
export class BlockCodec {
  readonly #packr: Packr;
  readonly #bodies = new BodyPacker(() => sharedStructures(this.#packr));
  readonly #names = new NameCache();
  #scratch = Buffer.allocUnsafeSlow(64 * 1024);
  readonly #idScratch = Buffer.allocUnsafeSlow(blockEventsMax * idBytes);
  readonly #order = new Uint8Array(2 ** 16);

  constructor(structures: StructureStore) {
    this.#packr = new Packr({
      maxSharedStructures: 256,
      getStructures: () => {
        const saved = structures.load();
        return saved ? (JSON.parse(saved.toString()) as object[]) : [];
      },
      saveStructures: (shared: object) => {
        structures.save(Buffer.from(JSON.stringify(plainStructures(shared))));
      },
    });
  }

  /**
   * @param ids of all ids before the block; takes in those of the block
   * @param space where the bytes go (default: memory of their own)
   */
  encode(
    events: readonly RecordedEvent[],
    ids: { greatest: string; others: boolean },
    space?: BlockSpace,
  ): EncodedBlock {
    for (const event of events) noteId(ids, event.id);
    const streams = streamsOf(events);
    const columns = events.every(hasPlainId) ? this.#writePlainIds(events) : 0;
    const body = this.#pack(events, columnsOf(events, columns > 0 ? null : events.map((event) => event.id)));
    const headerEnd = this.#writeHeader(events, streams, ids, columns > 0);
    const { bytes: block, arena } = allocate(space, headerEnd + columns + body.length);
    this.#scratch.copy(block, 0, 0, headerEnd);
    if (columns > 0) this.#idScratch.copy(block, headerEnd, 0, columns);
    body.copy(block, headerEnd + columns);
    sealRow(block);
    const first = events[0]!.position;
    return { first, value: block, arena, names: streams.names, revisions: streams.firstRevisions };
  }

  /** The header, or undefined where the checksum does not match or the bytes are no block. */
  header(block: Buffer): BlockHeader | undefined {
    if (block.length < headerBytes || !isSound(block) || block[4] !== formatVersion) return undefined;
    const count = block.readUInt16LE(6);
    const streamCount = block.readUInt16LE(16);
    const greatestBytes = block[18]!;
    let at = headerBytes;
    const greatest = block.toString('latin1', at, at + greatestBytes);
    at += greatestBytes;
    const streams: BlockStream[] = [];
    for (let index = 0; index < streamCount; index++) {
      const nameBytes = block.readUInt16LE(at);
      const name = this.#names.read(block, at + 10, at + 10 + nameBytes);
      streams.push({ name, firstRevision: block.readUIntLE(at + 2, 6), count: block.readUInt16LE(at + 8) });
      at += 10 + nameBytes;
    }
    const ids = { greatest, others: (block[5]! & flags.otherIds) !== 0 };
    const idsAt = at + count;
    const bodyAt = (block[5]! & flags.plainIds) === 0 ? idsAt : idsAt + count * idBytes;
    if (bodyAt > block.length) return undefined;
    return { first: block.readDoubleLE(8), count, streams, ids, orderAt: at, idsAt, bodyAt };
  }

  /** The events of a block with that header. @throws when the bytes cannot be decoded */
  events(block: Buffer, header: BlockHeader): RecordedEvent[] {
    const { first, count, streams } = header;
    // The bytes may be gone once the structures have been looked up in the same database.
    const order = this.#order;
    for (let index = 0; index < count; index++) order[index] = block[header.orderAt + index]!;
    const plainIds = plainIdsOf(block, header);
    const body = this.#packr.unpack(block.subarray(header.bodyAt)) as BlockBody;
    const [types, metas, baseTime, times, typeOf, metaOf, data] = body;
    const ids = plainIds ?? body[7]!;
    if (ids.length !== count || data.length !== count) throw new Error(`${data.length} events, expected ${count}`);
    const next = streams.map((stream) => stream.firstRevision);
    const events = new Array<RecordedEvent>(count);
    for (let index = 0; index < count; index++) {
      const which = order[index]!;
      events[index] = {
        position: first + index,
        stream: streams[which]!.name,
        revision: next[which]!++,
        id: ids[index]!,
        type: types[typeof typeOf === 'number' ? typeOf : typeOf[index]!]!,
        time: baseTime + (typeof times === 'number' ? times : times[index]!),
        data: data[index],
        meta: metas[typeof metaOf === 'number' ? metaOf : metaOf[index]!]!,
      };
    }
    return events;
  }

  /** Decodes a block unchecked, without making events of it. Returns how many there are. */
  decodeRaw(block: Buffer): number {
    const count = block.readUInt16LE(6);
    let at = headerBytes + block[18]!;
    for (let left = block.readUInt16LE(16); left > 0; left--) at += 10 + block.readUInt16LE(at);
    const idsAt = at + count;
    const bodyAt = (block[5]! & flags.plainIds) === 0 ? idsAt : idsAt + count * idBytes;
    const ids = plainIdsOf(block, { count, idsAt, bodyAt });
    const body = this.#packr.unpack(block.subarray(bodyAt)) as BlockBody;
    return Math.min(body[6].length, (ids ?? body[7]!).length);
  }

  /** Size of the data of one event as it is stored. @throws when it cannot be stored */
  dataBytes(data: unknown): number {
    return (this.#packr.pack(data) as Buffer).length;
  }

  #pack(events: readonly RecordedEvent[], body: BlockBody): Buffer {
    const packed = this.#bodies.pack(body, body[6], (index) => events[index]!.type);
    return packed ?? (this.#packr.pack(body) as Buffer);
  }

  /** Writes the ids one behind the other. Returns how many bytes that are, 0 when they are not plain text after all. */
  #writePlainIds(events: readonly RecordedEvent[]): number {
    const target = this.#idScratch;
    let at = 0;
    for (const { id } of events) {
      for (let index = 0; index < idBytes; index++) {
        const code = id.charCodeAt(index);
        if (code > 127) return 0;
        target[at++] = code;
      }
    }
    return at;
  }

  #writeHeader(
    events: readonly RecordedEvent[],
    streams: StreamColumns,
    ids: ForgottenIds,
    hasPlainIds: boolean,
  ): number {
    const { names, firstRevisions, counts, order } = streams;
    let scratch = this.#scratch;
    const needed = headerBytes + idBytes + events.length + names.reduce((sum, name) => sum + 10 + name.length * 3, 0);
    if (scratch.length < needed) scratch = this.#scratch = Buffer.allocUnsafeSlow(needed * 2);
    scratch.fill(0, 0, headerBytes);
    scratch[4] = formatVersion;
    scratch[5] = (ids.others ? flags.otherIds : 0) | (hasPlainIds ? flags.plainIds : 0);
    scratch.writeUInt16LE(events.length, 6);
    scratch.writeDoubleLE(events[0]!.position, 8);
    scratch.writeUInt16LE(names.length, 16);
    scratch[18] = ids.greatest.length;
    let at = headerBytes + scratch.write(ids.greatest, headerBytes, 'latin1');
    for (let index = 0; index < names.length; index++) {
      const nameBytes = writeName(scratch, names[index]!, at + 10);
      scratch.writeUInt16LE(nameBytes, at);
      scratch.writeUIntLE(firstRevisions[index]!, at + 2, 6);
      scratch.writeUInt16LE(counts[index]!, at + 8);
      at += 10 + nameBytes;
    }
    for (const which of order) scratch[at++] = which;
    return at;
  }
}

/** A block as it goes into the database, and which streams go on in it from which revision. */
export interface EncodedBlock {
  readonly first: number;
  readonly value: Buffer;
  /** Where `value` lies, to be given back. */
  readonly arena: Arena | undefined;
  readonly names: readonly string[];
  readonly revisions: readonly number[];
}

interface StreamColumns {
  readonly names: readonly string[];
  readonly firstRevisions: readonly number[];
  readonly counts: readonly number[];
  readonly order: readonly number[];
}

/** What a block is put together from, used again for the next: blocks are made one at a time. */
const columns = {
  times: [] as number[],
  typeOf: [] as number[],
  metaOf: [] as number[],
  data: [] as unknown[],
  counts: [] as number[],
  order: [] as number[],
  indexOf: new Map<string, number>(),
};

/** The result is valid until the next call, but for the names and the revisions. */
function streamsOf(events: readonly RecordedEvent[]): StreamColumns {
  const names: string[] = [];
  const firstRevisions: number[] = [];
  const { counts, order, indexOf } = columns;
  indexOf.clear();
  order.length = events.length;
  let last = '';
  let which = -1;
  for (let index = 0; index < events.length; index++) {
    const event = events[index]!;
    if (which < 0 || event.stream !== last) {
      last = event.stream;
      which = indexOf.get(last) ?? -1;
      if (which < 0) {
        which = names.length;
        indexOf.set(last, which);
        names.push(last);
        firstRevisions.push(event.revision);
        counts[which] = 0;
      }
    }
    counts[which]!++;
    order[index] = which;
  }
  return { names, firstRevisions, counts, order };
}

/** The result is valid until the next call. */
function columnsOf(events: readonly RecordedEvent[], ids: readonly string[] | null): BlockBody {
  const types: string[] = [];
  const metas: EventMeta[] = [];
  const { times, typeOf, metaOf, data } = columns;
  times.length = typeOf.length = metaOf.length = data.length = events.length;
  const base = events.every(hasWholeTime) ? events[0]!.time : 0;
  for (let index = 0; index < events.length; index++) {
    const event = events[index]!;
    let type = types.indexOf(event.type);
    if (type < 0) type = types.push(event.type) - 1;
    let meta = metas.length - 1;
    if (meta < 0 || !isSameMeta(metas[meta]!, event.meta)) meta = metas.push(event.meta) - 1;
    times[index] = event.time - base;
    typeOf[index] = type;
    metaOf[index] = meta;
    data[index] = event.data;
  }
  return [types, metas, base, columnOf(times), columnOf(typeOf), columnOf(metaOf), data, ids];
}

function hasWholeTime(event: RecordedEvent): boolean {
  return Number.isSafeInteger(event.time);
}

function columnOf(values: readonly number[]): Column {
  const first = values[0]!;
  for (const value of values) if (value !== first) return values;
  return first;
}

function hasPlainId(event: RecordedEvent): boolean {
  return event.id.length === idBytes;
}

/** The ids that stand before the body, undefined when they are in it. */
function plainIdsOf(
  block: Buffer,
  { count, idsAt, bodyAt }: Pick<BlockHeader, 'count' | 'idsAt' | 'bodyAt'>,
): string[] | undefined {
  if (bodyAt === idsAt) return undefined;
  const text = block.toString('latin1', idsAt, bodyAt);
  const ids = new Array<string>(count);
  for (let index = 0; index < count; index++) ids[index] = text.substring(index * idBytes, (index + 1) * idBytes);
  return ids;
}

function allocate(space: BlockSpace | undefined, bytes: number): BlockMemory {
  return space ? space.take(bytes) : { bytes: Buffer.allocUnsafeSlow(bytes), arena: undefined };
}

function isSameMeta(a: EventMeta, b: EventMeta): boolean {
  return (
    a === b ||
    (a.schema === b.schema &&
      a.causation === b.causation &&
      a.correlation === b.correlation &&
      a.traceparent === b.traceparent &&
      a.producer.plugin === b.producer.plugin &&
      a.producer.generation === b.producer.generation)
  );
}

/** Writes short ASCII names without leaving JavaScript. */
function writeName(target: Buffer, name: string, at: number): number {
  for (let index = 0; index < name.length; index++) {
    const code = name.charCodeAt(index);
    if (code > 127) return target.write(name, at);
    target[at + index] = code;
  }
  return name.length;
}

/** The shared structures as plain arrays of property names. */
function plainStructures(shared: object): string[][] {
  const structures = shared as string[][] & { readonly sharedLength?: number };
  return structures.slice(0, structures.sharedLength ?? structures.length).map((keys) => [...keys]);
}

/** The structures that are shared so far, by id. What comes after them is of one block alone. */
function sharedStructures(packr: Packr): readonly (readonly string[])[] {
  const { structures } = packr as unknown as { structures?: string[][] & { readonly sharedLength?: number } };
  return structures?.slice(0, structures.sharedLength ?? 0) ?? [];
}
