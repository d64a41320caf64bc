import { completeMeta, type ForgottenIds } from '@cloudos/event-log';
import type { AppendResult, IdSource, RecordedEvent } from '@cloudos/sdk';
import { type BlockCodec, blockEventsMax, type EncodedBlock } from './block.codec.ts';
import type { BlockLog } from './block-log.ts';
import type { BlockSpace } from './block-space.ts';
import type { StoredBatch } from './checkpointer.ts';
import type { PendingAppend } from './pending-append.ts';
import { eventBytesMax } from './unstorable.ts';

/**
 * What one commit will hold. Appends get their places in it while the commit before it is on its way to the disk, and
 * are encoded as soon as a block is full, so that little is left to do when its own turn comes.
 */
export class CommitBatch {
  readonly events: RecordedEvent[] = [];
  /** Whoever hears of this commit: also those that were refused or were there already. */
  readonly appends: PendingAppend[] = [];
  readonly blocks: EncodedBlock[] = [];
  /** Of all ids up to the end of the batch, as far as it is encoded. */
  readonly ids: { greatest: string; others: boolean };
  /** Some event of it may not be storable: it has to be taken apart. */
  isSuspect = false;
  bytes = 0;
  readonly #log: BlockLog;
  readonly #codec: BlockCodec;
  readonly #space: BlockSpace;
  readonly #newId: IdSource;
  readonly #first: number;
  #encoded = 0;

  /** @param first position of its first event */
  constructor(log: BlockLog, space: BlockSpace, newId: IdSource, first: number, ids: ForgottenIds) {
    this.#log = log;
    this.#codec = log.codec;
    this.#space = space;
    this.#newId = newId;
    this.#first = first;
    this.ids = { greatest: ids.greatest, others: ids.others };
  }

  toStore(): StoredBatch {
    const blocks = this.blocks.map(({ first, value, arena }) => ({ first, value, arena }));
    return { blocks, bytes: this.bytes, last: this.last };
  }

  /** Nobody will read its blocks. */
  discard(): void {
    for (const { arena } of this.blocks) this.#space.release(arena);
  }

  get first(): number {
    return this.#first;
  }

  get last(): number {
    return this.end - 1;
  }

  /** Position after its last event. */
  get end(): number {
    return this.#first + this.events.length;
  }

  /** Gives the events of an append their places. The ledger has agreed to them. */
  place(append: PendingAppend, now: number): AppendResult {
    const { ledger } = this.#log;
    const { stream } = append;
    const first = this.end;
    let position = first;
    let revision = ledger.revision(stream);
    try {
      for (const event of append.events) {
        const recorded: RecordedEvent = {
          position,
          stream,
          revision: revision + 1,
          id: event.id ?? this.#newId(),
          type: event.type,
          time: event.time ?? now,
          data: event.data,
          meta: completeMeta(event.meta),
        };
        ledger.add(recorded.id, stream, ++revision, position++);
        this.events.push(recorded);
      }
    } catch (error) {
      ledger.removeLast(this.events.splice(first - this.#first));
      throw error;
    }
    return { first, last: position - 1, revision, duplicate: false };
  }

  /** Encodes the blocks that are full. */
  encodeFull(): void {
    while (!this.isSuspect && this.events.length - this.#encoded >= blockEventsMax) this.#encode(blockEventsMax);
  }

  /** Encodes what is left. */
  encodeRest(): void {
    this.encodeFull();
    const left = this.events.length - this.#encoded;
    if (!this.isSuspect && left > 0) this.#encode(left);
  }

  #encode(count: number): void {
    const events = this.events.slice(this.#encoded, this.#encoded + count);
    try {
      const block = this.#codec.encode(events, this.ids, this.#space);
      if (block.value.length > eventBytesMax && !this.appends.every((append) => append.isMeasured)) {
        this.isSuspect = true;
        return;
      }
      this.blocks.push(block);
      this.bytes += block.value.length + 4096;
      this.#encoded += count;
    } catch {
      this.isSuspect = true;
    }
  }
}
