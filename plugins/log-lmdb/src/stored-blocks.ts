import type { StoredBatch, StoredEvents } from '@cloudos/sdk';
import type { BlockLog } from './block-log.ts';
import { loadStructures } from './store.ts';

/** Blocks as they lie in the database, each checked when it is read. */
export class StoredBlocks implements StoredEvents {
  readonly format = 'block-2';
  readonly #log: BlockLog;

  constructor(log: BlockLog) {
    this.#log = log;
  }

  structures(): Uint8Array {
    return this.#log.unsavedStructures ?? loadStructures(this.#log.rows) ?? new TextEncoder().encode('[]');
  }

  read(from: number, to: number, bytesMax: number): readonly StoredBatch[] {
    this.#log.assertOpen();
    const last = Math.min(to, this.#log.head);
    const batches: StoredBatch[] = [];
    let bytes = 0;
    for (let position = Math.max(0, from); position <= last; ) {
      const batch = this.#log.blockAround(position);
      bytes += batch.bytes.length;
      if (batches.length > 0 && bytes > bytesMax) break;
      batches.push(batch);
      position = batch.first + batch.count;
    }
    return batches;
  }
}
