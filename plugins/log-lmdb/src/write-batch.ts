import type { BlockLog } from './block-log.ts';
import { withChecksum } from './checked-row.ts';
import type { CommitBatch } from './commit-batch.ts';
import type { IndexWriter } from './index-writer.ts';
import { blockKey, metaKeys } from './keys.ts';

/**
 * Puts the rows of a commit into one transaction: the record structures that are new, the blocks, and index rows that
 * ride along. Resolves when it is on disk; undefined when there is nothing to write.
 */
export function writeBatch(
  { rows }: BlockLog,
  index: IndexWriter,
  batch: CommitBatch,
  structures: Buffer | undefined,
): Promise<unknown> | undefined {
  let committed: Promise<boolean> | undefined;
  if (structures) committed = rows.put(metaKeys.structures, withChecksum(structures));
  for (const block of batch.blocks) committed = rows.put(blockKey(block.first), block.value);
  committed = index.put(batch.end - 1, batch.ids) ?? committed;
  return committed && Promise.all([committed, rows.flushed]);
}
