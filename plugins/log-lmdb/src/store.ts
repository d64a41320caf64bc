import { CloudosError, messageOf } from '@cloudos/sdk';
import { open } from 'lmdb';
import { checkedValue } from './checked-row.ts';
import { blockKey, blocksBegin, blocksEnd, metaKeys, positionOfKey } from './keys.ts';

export interface RangeOptions {
  readonly start?: Buffer;
  readonly end?: Buffer;
  readonly reverse?: boolean;
  readonly limit?: number;
}

/** The part of the LMDB binding that the log uses, typed. */
export interface Rows {
  get(key: Buffer): Buffer | undefined;
  getBinaryFast(key: Buffer): Buffer | undefined;
  put(key: Buffer, value: Buffer): Promise<boolean>;
  remove(key: Buffer): Promise<boolean>;
  getRange(options: RangeOptions): Iterable<{ key: Buffer; value: Buffer }>;
  getKeys(options: RangeOptions): Iterable<Buffer>;
  resetReadTxn(): void;
  close(): Promise<void>;
  readonly flushed: PromiseLike<unknown>;
}

export interface StoreOptions {
  readonly directory: string;
  readonly readOnly: boolean;
  readonly mapSizeBytes?: number;
}

/** Opens the database. @throws CloudosError LOG_UNAVAILABLE, LOG_CORRUPT */
export function openRows({ directory, readOnly, mapSizeBytes }: StoreOptions): Rows {
  try {
    return open({
      path: directory,
      readOnly,
      keyEncoding: 'binary',
      encoding: 'binary',
      ...(mapSizeBytes === undefined ? {} : { mapSize: mapSizeBytes }),
    }) as unknown as Rows;
  } catch (error) {
    const text = messageOf(error);
    if (/INVALID|CORRUPT|VERSION|PAGE_NOTFOUND/.test(text)) {
      throw new CloudosError('LOG_CORRUPT', `${directory}: not a readable database from position 0 on: ${text}`, {
        cause: error,
        details: { position: 0 },
      });
    }
    throw new CloudosError('LOG_UNAVAILABLE', `${directory}: ${text}`, { cause: error });
  }
}

/** First position of the block that holds a position, or of the last one before it; undefined when there is none. */
export function floorBlock(rows: Rows, position: number): number | undefined {
  for (const key of rows.getKeys({ start: blockKey(position), end: blocksBegin, reverse: true, limit: 1 })) {
    return positionOfKey(key);
  }
  return undefined;
}

/** First position of the last block, undefined when the log is empty. */
export function lastBlock(rows: Rows): number | undefined {
  for (const key of rows.getKeys({ start: blocksEnd, end: blocksBegin, reverse: true, limit: 1 })) {
    return positionOfKey(key);
  }
  return undefined;
}

/** The saved record structures. @throws CloudosError LOG_CORRUPT */
export function loadStructures(rows: Rows): Buffer | undefined {
  const row = rows.get(metaKeys.structures);
  if (!row) return undefined;
  const value = checkedValue(row);
  if (value) return value;
  throw corrupt(0, 'the record structures that all blocks share are damaged');
}

/** The error for stored bytes that are not what was written. */
export function corrupt(position: number, what: string, cause?: unknown): CloudosError {
  return new CloudosError('LOG_CORRUPT', `position ${position}: ${what}`, {
    details: { position },
    ...(cause === undefined ? {} : { cause }),
  });
}
