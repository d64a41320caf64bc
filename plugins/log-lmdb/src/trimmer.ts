import { assertTrim, segmentOf } from '@cloudos/event-log';
import type { SnapshotStore, TrimResult } from '@cloudos/sdk';
import type { BlockLog } from './block-log.ts';
import { commitFailure } from './commit-failure.ts';
import type { DiskSpace } from './disk-space.ts';
import { encodeHeads, type Heads } from './heads.ts';
import {
  blockKey,
  blocksBegin,
  metaKeys,
  parsePostingKey,
  postingsBegin,
  postingsEnd,
  summariesBegin,
  summaryKey,
} from './keys.ts';

/** Rows that are looked at, or removed in one transaction, before other work gets a turn. */
const rowsPerTurn = 1024;

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/**
 * Removes the oldest blocks. First the base (where the log begins from now on, with the revisions of all streams before)
 * is made durable, then the rows before it go; what a crash leaves of them is never read, and goes with the next trim.
 */
export class Trimmer {
  readonly #log: BlockLog;
  readonly #directory: string;
  readonly #space: DiskSpace;
  readonly #snapshots: SnapshotStore;
  readonly #checkpoint: () => Promise<void>;
  #last: Promise<unknown> = Promise.resolve();

  /** @param checkpoint brings what is in the journal into the database */
  constructor(
    log: BlockLog,
    directory: string,
    space: DiskSpace,
    snapshots: SnapshotStore,
    checkpoint: () => Promise<void>,
  ) {
    this.#log = log;
    this.#directory = directory;
    this.#space = space;
    this.#snapshots = snapshots;
    this.#checkpoint = checkpoint;
  }

  /** One at a time. */
  trim(before: number): Promise<TrimResult> {
    const result = this.#last.then(() => this.#trim(before));
    this.#last = result.catch(() => {});
    return result;
  }

  /** Resolves when no trim is under way. */
  async settle(): Promise<void> {
    await this.#last;
  }

  async #trim(before: number): Promise<TrimResult> {
    const log = this.#log;
    log.assertOpen();
    assertTrim(before, await this.#snapshots.list());
    await this.#checkpoint();
    const old = log.base;
    const base = await this.#baseBefore(before);
    if (base.position > old.position) await this.#moveBase(base, old);
    await this.#removeBlocks();
    await this.#removePostings();
    await this.#removeSummaries();
    return { first: log.first, removed: base.position - old.position };
  }

  /** The revisions at the end of the last block that goes. The block that holds the head stays, as does what is in the journal. */
  async #baseBefore(before: number): Promise<Heads> {
    const { base, head, storedTo } = this.#log;
    const revisions = new Map(base.revisions);
    let { position, ids } = base;
    for (let blocks = 1; ; blocks++) {
      const header = this.#log.header(position + 1);
      const last = position + header.count;
      if (last >= before || last >= head || last >= storedTo) return { position, ids, revisions };
      for (const { name, firstRevision, count } of header.streams) revisions.set(name, firstRevision + count - 1);
      position = last;
      ids = header.ids;
      if (blocks % rowsPerTurn === 0) await turn();
    }
  }

  async #moveBase(base: Heads, old: Heads): Promise<void> {
    const { rows } = this.#log;
    // From now on nobody reads what is about to go.
    this.#log.base = base;
    try {
      await rows.put(metaKeys.base, encodeHeads(base.position, base.ids, base.revisions));
      await rows.flushed;
    } catch (error) {
      this.#log.base = old;
      throw await commitFailure(this.#directory, error);
    }
  }

  async #removeBlocks(): Promise<void> {
    const { rows, first } = this.#log;
    for (;;) {
      let bytes = 0;
      const range = { start: blocksBegin, end: blockKey(first), limit: rowsPerTurn };
      const keys: Buffer[] = [];
      for (const { key, value } of rows.getRange(range)) {
        keys.push(key);
        bytes += value.length;
      }
      if (keys.length === 0) return;
      await this.#remove(keys);
      this.#space.freed(bytes);
    }
  }

  /** Index rows all of whose revisions come before the base: the next row of the stream begins there or earlier. */
  async #removePostings(): Promise<void> {
    const { rows } = this.#log;
    let previous: { key: Buffer; stream: string } | undefined;
    let start = postingsBegin;
    for (;;) {
      const keys = [...rows.getKeys({ start, end: postingsEnd, limit: rowsPerTurn })];
      const gone: Buffer[] = [];
      for (const key of keys) {
        const { stream, revision } = parsePostingKey(key);
        if (previous?.stream === stream && revision <= this.#log.firstRevision(stream)) gone.push(previous.key);
        previous = { key, stream };
      }
      if (gone.length > 0) await this.#remove(gone);
      if (keys.length < rowsPerTurn) return;
      start = Buffer.concat([keys[keys.length - 1]!, Buffer.of(0)]);
      await turn();
    }
  }

  /** Of segments of which nothing is kept. */
  async #removeSummaries(): Promise<void> {
    const { rows, first, summaries } = this.#log;
    await summaries.settle();
    for (;;) {
      const range = { start: summariesBegin, end: summaryKey(segmentOf(first)), limit: rowsPerTurn };
      const keys = [...rows.getKeys(range)];
      if (keys.length === 0) return;
      await this.#remove(keys);
    }
  }

  async #remove(keys: readonly Buffer[]): Promise<void> {
    const { rows } = this.#log;
    try {
      let removed: Promise<boolean> | undefined;
      for (const key of keys) removed = rows.remove(key);
      await removed;
      await rows.flushed;
    } catch (error) {
      throw await commitFailure(this.#directory, error);
    }
  }
}
