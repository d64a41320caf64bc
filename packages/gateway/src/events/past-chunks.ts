import type { Chunk } from './feed-group.ts';

/** What a chunk costs besides its bytes. */
const chunkOverheadBytes = 512;
const nothing = Buffer.alloc(0);

/** Chunks of one group, by where they begin. */
export type ChunksByPosition = Map<number, Chunk>;

/**
 * What was read of the log for one member of a group, for the others that come through the same positions: subscribers
 * that lost their connections at the same moment come back to the same place. Bounded over all groups together; what was
 * kept first goes first.
 */
export class PastChunks {
  readonly #maxBytes: number;
  /** With the chunks of the group that each is among. */
  readonly #inOrder = new Map<Chunk, ChunksByPosition>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Keeps the chunks of one turn, which follow each other.
   * @param from where the turn began
   * @param next where the next one begins: what lies before it and in no chunk holds nothing that matches
   */
  keep(ofGroup: ChunksByPosition, chunks: readonly Chunk[], from: number, next: number): void {
    for (const chunk of chunks) this.#add(ofGroup, chunk);
    const first = chunks.length === 0 ? from : (chunks.at(-1) as Chunk).last + 1;
    if (first < next) this.#add(ofGroup, { first, last: next - 1, count: 0, bytes: nothing, structures: 0 });
    for (const [chunk, among] of this.#inOrder) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#remove(among, chunk);
    }
  }

  /** Of a group that has no members any more. */
  forget(ofGroup: ChunksByPosition): void {
    for (const chunk of ofGroup.values()) this.#remove(ofGroup, chunk);
  }

  #add(ofGroup: ChunksByPosition, chunk: Chunk): void {
    const before = ofGroup.get(chunk.first);
    if (before && before.last >= chunk.last) return;
    if (before) this.#remove(ofGroup, before);
    ofGroup.set(chunk.first, chunk);
    this.#inOrder.set(chunk, ofGroup);
    this.#bytes += chunk.bytes.length + chunkOverheadBytes;
  }

  #remove(ofGroup: ChunksByPosition, chunk: Chunk): void {
    ofGroup.delete(chunk.first);
    this.#inOrder.delete(chunk);
    this.#bytes -= chunk.bytes.length + chunkOverheadBytes;
  }
}
