import {
  AppendLedger,
  boundsOf,
  type ForgottenIds,
  isForgotten,
  isStreamRange,
  type KnownEvent,
  nothingForgotten,
  trimmed,
} from '@cloudos/event-log';
import { CloudosError, type GlobalRange, type RecordedEvent, readBatchMax, type StreamRange } from '@cloudos/sdk';
import { BlockCodec, type BlockHeader } from './block.codec.ts';
import { checkedValue } from './checked-row.ts';
import { readGlobal } from './global-read.ts';
import { decodeHeads, type Heads, noHeads } from './heads.ts';
import type { JournalRecord } from './journal-record.ts';
import { blockKey, metaKeys } from './keys.ts';
import { PendingBlocks } from './pending-blocks.ts';
import { Postings } from './postings.ts';
import { corrupt, floorBlock, lastBlock, loadStructures, type Rows } from './store.ts';
import { Summaries } from './summaries.ts';

/** Gives other work a turn between batches. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/**
 * The log as it stands in the database: recovers where it ends, and reads. Every block is checked (checksum, place,
 * no gap to the one before) whenever it is read; what does not hold is LOG_CORRUPT with the position.
 */
export class BlockLog {
  readonly rows: Rows;
  readonly codec: BlockCodec;
  readonly postings: Postings;
  readonly summaries: Summaries = new Summaries(this);
  ledger = new AppendLedger();
  /** All ids of the log. */
  ids: ForgottenIds = nothingForgotten;
  head = -1;
  /** Position of the last event in the database. What comes after is in the journal and in memory. */
  storedTo = -1;
  readonly pending = new PendingBlocks();
  /** What was trimmed: the revisions of all streams before the first event that is kept. */
  base: Heads = noHeads;
  #baseRow: Buffer | undefined;
  /** Heads are saved up to this position. */
  headsSavedTo = -1;
  closed = false;
  readonly #directory: string;
  /** Bytes of structures that are not in the database yet, and whether they are not in the journal either. */
  unsavedStructures: Buffer | undefined;
  hasNewStructures = false;

  constructor(rows: Rows, directory: string) {
    this.rows = rows;
    this.#directory = directory;
    this.postings = new Postings(rows);
    this.codec = new BlockCodec({
      load: () => this.unsavedStructures ?? loadStructures(rows),
      save: (structures) => {
        this.unsavedStructures = structures;
        this.hasNewStructures = true;
      },
    });
  }

  /** Position of the oldest event that is kept. */
  get first(): number {
    return this.base.position + 1;
  }

  /**
   * Finds where the database ends from the saved heads and the headers of the blocks after them. What the journal has
   * after that comes with {@link take}, then {@link assertReaches}.
   */
  recover(): void {
    this.#loadBase();
    this.storedTo = Number.POSITIVE_INFINITY;
    const last = lastBlock(this.rows);
    const end = last === undefined ? this.base.position : last + this.#header(last).header.count - 1;
    const heads = this.#savedHeads(end);
    const watermark = this.#watermark(end);
    this.headsSavedTo = heads.position;
    this.ids = heads.ids;
    this.postings.reset();
    this.pending.clear();
    const revisions = heads.revisions;
    let next = this.#startAfter(Math.min(heads.position, watermark));
    while (next <= end) {
      const { header } = this.#header(next);
      if (next > watermark)
        for (const stream of header.streams) this.postings.add(stream.name, next, stream.firstRevision);
      if (next > heads.position) takeHeads(revisions, header);
      next += header.count;
    }
    if (last !== undefined) this.ids = this.#header(last).header.ids;
    this.head = end;
    this.storedTo = end;
    this.ledger = new AppendLedger(revisions, this.ids);
  }

  /** Takes in records of the journal that go on where the log ends. @throws CloudosError LOG_CORRUPT */
  take(records: readonly JournalRecord[]): void {
    const revisions = this.ledger.heads() as Map<string, number>;
    for (const record of records) this.#takeRecord(record, revisions);
    this.ledger = new AppendLedger(revisions, this.ids);
  }

  #takeRecord({ structures, blocks }: JournalRecord, revisions: Map<string, number>): void {
    if (structures) this.unsavedStructures = structures.subarray(4);
    for (const block of blocks) {
      const first = this.head + 1;
      const header = this.#headerOf(block, first);
      for (const stream of header.streams) this.postings.add(stream.name, first, stream.firstRevision);
      takeHeads(revisions, header);
      this.pending.add(first, block);
      this.head += header.count;
      this.ids = header.ids;
    }
  }

  /** @throws CloudosError LOG_CORRUPT when the log ends before a position */
  assertReaches(acknowledged: number): void {
    if (this.head >= acknowledged) return;
    const lost = this.head + 1;
    throw corrupt(lost, `the log ends before it, events up to position ${acknowledged} were acknowledged`);
  }

  /** For a reader: takes in what came into the database since. */
  refresh(): void {
    this.rows.resetReadTxn();
    // What was trimmed meanwhile may reach beyond all that was seen so far.
    if (this.#loadBase() && this.first > this.head + 1) return this.recover();
    const revisions = this.ledger.heads() as Map<string, number>;
    for (;;) {
      const first = this.storedTo + 1;
      const block = this.rows.getBinaryFast(blockKey(first));
      if (!block) break;
      const header = this.#headerOf(block, first);
      this.storedTo += header.count;
      if (first <= this.head) continue;
      for (const stream of header.streams) this.postings.add(stream.name, first, stream.firstRevision);
      takeHeads(revisions, header);
      this.head = this.storedTo;
    }
    this.pending.drop(this.storedTo);
  }

  /** @param revision of the last event that may be read, for the range of a stream */
  read(range: StreamRange | GlobalRange, head: number, revision: number): AsyncIterable<readonly RecordedEvent[]> {
    this.assertOpen();
    if (!isStreamRange(range)) return readGlobal(this, range, head);
    return this.#readStream(range, revision, head);
  }

  /** The events of a block. @throws CloudosError LOG_CORRUPT */
  blockEvents(first: number): RecordedEvent[] {
    const block = this.#blockAt(first);
    if (!block) throw this.#missing(first, 'the block that begins there is missing');
    return this.#decode(block, first);
  }

  #decode(block: Buffer, first: number): RecordedEvent[] {
    const header = this.#headerOf(block, first);
    try {
      return this.codec.events(block, header);
    } catch (error) {
      if (error instanceof CloudosError) throw error;
      throw corrupt(first, 'the block matches its checksum and cannot be decoded', error);
    }
  }

  /** The block that holds a position, checked and copied. @throws CloudosError LOG_CORRUPT, LOG_TRIMMED */
  blockAround(position: number): { first: number; count: number; bytes: Uint8Array } {
    if (position < this.first) throw trimmed(position, this.first);
    const first = this.#blockAt(position) ? position : this.#floor(position);
    if (first === undefined) throw this.#missing(position, 'the block that holds it is missing');
    const { block, header } = this.#header(first);
    if (first + header.count <= position) throw this.#missing(position, 'the block that holds it is missing');
    // The buffer that was read into may be longer than what was read.
    const bytes = new Uint8Array(block.subarray(0, block.length));
    return { first, count: header.count, bytes };
  }

  /** What the block that begins there says of itself. @throws CloudosError LOG_CORRUPT */
  header(first: number): BlockHeader {
    return this.#header(first).header;
  }

  /** Where events with these ids are in a stream. */
  async search(stream: string, ids: readonly string[]): Promise<Map<string, KnownEvent>> {
    const wanted = new Set(ids);
    const found = new Map<string, KnownEvent>();
    let blocks = 0;
    for (const posting of this.postings.backwards(stream, Number.MAX_SAFE_INTEGER)) {
      if (posting.block < this.first) break;
      const { header } = this.#header(posting.block);
      // The summary is of all ids so far: once an id is beyond it, no earlier block can hold it.
      for (const id of wanted) if (!isForgotten(header.ids, id)) wanted.delete(id);
      if (wanted.size === 0) break;
      for (const event of this.blockEvents(posting.block)) {
        if (event.stream === stream && wanted.delete(event.id)) found.set(event.id, event);
      }
      if (wanted.size === 0) break;
      if (++blocks % 64 === 0) await turn();
    }
    return found;
  }

  /** Decodes the blocks that begin in a range, without checking them or making events of them; counts the events. */
  scanRaw(from: number, to: number): number {
    let events = 0;
    for (const { value } of this.rows.getRange({ start: blockKey(from), end: blockKey(to + 1) })) {
      events += this.codec.decodeRaw(value);
    }
    for (const first of this.pending.firsts()) {
      if (first >= from && first <= to) events += this.codec.decodeRaw(this.pending.at(first)!);
    }
    return events;
  }

  /** The first revision of a stream that is kept. */
  firstRevision(stream: string): number {
    return (this.base.revisions.get(stream) ?? -1) + 1;
  }

  assertOpen(): void {
    if (this.closed) throw new CloudosError('LOG_CLOSED', `the log ${this.#directory} was closed`);
  }

  async *#readStream(range: StreamRange, revision: number, head: number): AsyncGenerator<readonly RecordedEvent[]> {
    const { first, last, backwards, limit } = boundsOf(range, revision, this.firstRevision(range.stream));
    let left = limit;
    if (first > last || left <= 0) return;
    let expected = backwards ? last : first;
    let batch: RecordedEvent[] = [];
    let blocks = 0;
    const postings = backwards
      ? this.postings.backwards(range.stream, last)
      : this.postings.forwards(range.stream, first);
    for (const posting of postings) {
      this.assertOpen();
      const kept = this.firstRevision(range.stream);
      if ((backwards ? first : expected) < kept) throw trimmed(backwards ? first : expected, kept, range.stream);
      // An index row that was written before a trim names it as the one that may hold the revision: what is kept is later.
      if (posting.block < this.first) continue;
      const events = this.blockEvents(posting.block);
      if (backwards) events.reverse();
      for (const event of events) {
        if (event.stream !== range.stream || event.revision < first || event.revision > last) continue;
        if (event.position > head) continue;
        if (event.revision !== expected) {
          throw corrupt(event.position, `revision ${event.revision} of ${range.stream}, expected ${expected}`);
        }
        expected += backwards ? -1 : 1;
        batch.push(event);
        if (--left <= 0) break;
      }
      const done = left <= 0 || (backwards ? expected < first : expected > last);
      if (done || batch.length > readBatchMax - 64 || ++blocks % 256 === 0) {
        const full = batch;
        batch = [];
        if (full.length > 0) yield full;
        if (done) return;
        await turn();
      }
    }
    throw corrupt(0, `stream ${range.stream}: revision ${expected} is missing from the index`);
  }

  /** All events from a position on, up to another one (exclusive). @throws CloudosError LOG_CORRUPT */
  eventsBetween(from: number, to: number): RecordedEvent[] {
    const found: RecordedEvent[] = [];
    for (let next = from; next < to; ) {
      const events = this.eventsAround(next);
      for (const event of events) if (event.position >= next && event.position < to) found.push(event);
      next = events.at(-1)!.position + 1;
    }
    return found;
  }

  /** The events of the block that holds a position. @throws CloudosError LOG_CORRUPT */
  eventsAround(position: number): RecordedEvent[] {
    const block = this.#blockAt(position);
    if (block) return this.#decode(block, position);
    const start = this.#floor(position);
    if (start === undefined) throw this.#missing(position, 'the block that holds it is missing');
    const events = this.blockEvents(start);
    if (start + events.length <= position) throw this.#missing(position, 'the block that holds it is missing');
    return events;
  }

  #blockAt(first: number): Buffer | undefined {
    return first > this.storedTo ? this.pending.at(first) : this.rows.getBinaryFast(blockKey(first));
  }

  /** First position of the block that holds a position, or of the last one before it. */
  #floor(position: number): number | undefined {
    return position > this.storedTo ? this.pending.floor(position) : floorBlock(this.rows, position);
  }

  #header(first: number): { block: Buffer; header: BlockHeader } {
    const block = this.#blockAt(first);
    if (!block) throw this.#missing(first, 'the block that begins there is missing');
    return { block, header: this.#headerOf(block, first) };
  }

  #headerOf(block: Buffer, first: number): BlockHeader {
    const header = this.codec.header(block);
    if (!header) throw corrupt(first, 'the block does not match its checksum');
    if (header.first !== first) throw corrupt(first, `the block is that of position ${header.first}`);
    return header;
  }

  /** First position after the block that holds a position; the first that is kept when there is none. */
  #startAfter(position: number): number {
    if (position <= this.base.position) return this.first;
    const start = this.#floor(position);
    if (start === undefined) throw this.#missing(position, 'the block that holds it is missing');
    const next = start + this.#header(start).header.count;
    if (next <= position) throw this.#missing(position, 'the block that holds it is missing');
    return next;
  }

  #savedHeads(end: number): Heads {
    const heads = decodeHeads(checkedValue(this.rows.get(metaKeys.heads)));
    if (heads && heads.position <= end && heads.position >= this.base.position) return heads;
    return { ...this.base, revisions: new Map(this.base.revisions) };
  }

  /** True when the base has moved. */
  #loadBase(): boolean {
    const row = this.rows.get(metaKeys.base);
    if (!row || this.#baseRow?.equals(row)) return false;
    const base = decodeHeads(checkedValue(row));
    if (!base) throw corrupt(0, 'the revisions of what was trimmed are damaged');
    this.#baseRow = Buffer.from(row);
    this.base = base;
    return true;
  }

  /** The error for a block that is not there: another process may have trimmed the log meanwhile. */
  #missing(position: number, what: string): CloudosError {
    this.#loadBase();
    return position < this.first ? trimmed(position, this.first) : corrupt(position, what);
  }

  /** Position up to which the index is in the database. */
  #watermark(end: number): number {
    const value = checkedValue(this.rows.get(metaKeys.watermark));
    const position = value?.length === 8 ? value.readDoubleLE(0) : -1;
    return position <= end ? position : -1;
  }
}

function takeHeads(revisions: Map<string, number>, header: BlockHeader): void {
  for (const stream of header.streams) {
    const expected = (revisions.get(stream.name) ?? -1) + 1;
    if (stream.firstRevision !== expected) {
      throw corrupt(header.first, `revision ${stream.firstRevision} of ${stream.name}, expected ${expected}`);
    }
    revisions.set(stream.name, expected + stream.count - 1);
  }
}
