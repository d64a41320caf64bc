import { closeSync, existsSync, fstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  afterRecord,
  type JournalRecord,
  looksLikeRecord,
  readAt,
  readEntries,
  readHeader,
  recordAlignment,
} from './journal-record.ts';
import { corrupt } from './store.ts';

const directoryName = 'journal';
const chunkBytes = 1024 * 1024;

export function journalDirectory(directory: string): string {
  return join(directory, directoryName);
}

/** Paths of the segments there are, in no order that means something. */
export function segmentPaths(directory: string): string[] {
  const journal = journalDirectory(directory);
  if (!existsSync(journal)) return [];
  return readdirSync(journal)
    .filter((name) => /^segment-\d+$/.test(name))
    .map((name) => join(journal, name));
}

/** Where a record lies. */
interface Found {
  readonly path: string;
  readonly fd: number;
  readonly at: number;
  readonly first: number;
  readonly last: number;
}

/** What the journal holds after a position, and the last position of each segment. */
export interface JournalTail {
  readonly records: readonly JournalRecord[];
  /** By path: the last position of the segment's chain, -1 where there is none. */
  readonly lasts: ReadonlyMap<string, number>;
  /** The record that was being written when the process ended: whoever writes on has to make it void first. */
  readonly torn: { readonly path: string; readonly at: number } | undefined;
}

/**
 * Reads the records that hold events after a position, in order.
 *
 * A segment holds a chain of records from its start on: each begins where the one before ends, in the file and in the
 * log. What follows the chain is zeros or left over from an earlier use of the segment, with lower positions. A record is
 * written when the one before is durable, so a chain that breaks off while a later record is whole anywhere was damaged
 * after it was acknowledged; one that nothing follows was never acknowledged, and counts as never written.
 * @throws CloudosError LOG_CORRUPT naming the first position that is lost
 */
export function readJournal(directory: string, after: number): JournalTail {
  const fds: number[] = [];
  const lasts = new Map<string, number>();
  const found: Found[] = [];
  try {
    for (const path of segmentPaths(directory)) {
      const fd = openSync(path, 'r');
      fds.push(fd);
      const chain = chainOf(path, fd);
      lasts.set(path, chain.at(-1)?.last ?? -1);
      for (const record of chain) if (record.last > after) found.push(record);
      found.push(...strays(path, fd, chain, after));
    }
    return { ...contiguous(found, after), lasts };
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

function chainOf(path: string, fd: number): Found[] {
  const chain: Found[] = [];
  const { size } = fstatSync(fd);
  for (let at = 0; at < size; ) {
    const header = readHeader(fd, at);
    const before = chain.at(-1);
    if (!header || (before && header.first <= before.last)) break;
    chain.push({ path, fd, at, first: header.first, last: header.last });
    at = afterRecord(at, header.bytes);
  }
  return chain;
}

/** Whole records behind the chain that are not left over from an earlier use: what comes before them was damaged. */
function strays(path: string, fd: number, chain: readonly Found[], after: number): Found[] {
  const last = chain.at(-1);
  const begin = last ? afterRecord(last.at, readHeader(fd, last.at)!.bytes) : 0;
  const newest = Math.max(after, last?.last ?? -1);
  const { size } = fstatSync(fd);
  const buffer = Buffer.allocUnsafeSlow(chunkBytes);
  const found: Found[] = [];
  for (let chunk = begin; chunk < size; chunk += chunkBytes) {
    const bytes = readAt(fd, chunk, Math.min(chunkBytes, size - chunk), buffer);
    for (let at = 0; at < bytes.length; at += recordAlignment) {
      if (!looksLikeRecord(bytes, at)) continue;
      const header = readHeader(fd, chunk + at);
      if (header && header.first > newest)
        found.push({ path, fd, at: chunk + at, first: header.first, last: header.last });
    }
  }
  return found;
}

/** The records in order, each read and checked. @throws CloudosError LOG_CORRUPT */
function contiguous(found: Found[], after: number): Pick<JournalTail, 'records' | 'torn'> {
  found.sort((a, b) => a.first - b.first);
  const records: JournalRecord[] = [];
  let next = after + 1;
  for (const [index, { path, fd, at, first, last }] of found.entries()) {
    if (first > next) throw corrupt(next, `the journal goes on with position ${first}, what comes before is lost`);
    const header = readHeader(fd, at);
    const record = header && readEntries(fd, at, header);
    if (record) records.push(record);
    else if (index === found.length - 1) return { records, torn: { path, at } };
    else throw corrupt(next, 'the record of the journal does not match its checksums');
    next = last + 1;
  }
  return { records, torn: undefined };
}
