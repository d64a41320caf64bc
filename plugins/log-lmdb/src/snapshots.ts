import { CloudosError, type Snapshot, type SnapshotInfo, type SnapshotStore } from '@cloudos/sdk';
import { Packr } from 'msgpackr';
import { checkedValue, withChecksum } from './checked-row.ts';
import { commitFailure } from './commit-failure.ts';
import type { DiskSpace } from './disk-space.ts';
import { snapshotKey, snapshotsBegin, snapshotsEnd } from './keys.ts';
import type { Rows } from './store.ts';

/** The longest key of a snapshot, in UTF-8 bytes. */
export const snapshotKeyBytesMax = 512;

/** Snapshots beside the events, in the same database. A damaged one counts as absent. */
export class LmdbSnapshots implements SnapshotStore {
  readonly #rows: Rows;
  readonly #space: DiskSpace;
  readonly #packr = new Packr({ structuredClone: true });

  constructor(rows: Rows, space: DiskSpace) {
    this.#rows = rows;
    this.#space = space;
  }

  async load(key: string, version: number): Promise<Snapshot | undefined> {
    const snapshot = this.#decode(this.#rows.get(snapshotKey(key)));
    return snapshot?.version === version ? snapshot : undefined;
  }

  async list(): Promise<readonly SnapshotInfo[]> {
    const found: SnapshotInfo[] = [];
    for (const row of this.#rows.getRange({ start: snapshotsBegin, end: snapshotsEnd })) {
      const snapshot = this.#decode(row.value);
      if (!snapshot) continue;
      const { version, position } = snapshot;
      found.push({ key: row.key.toString('utf8', 1), version, position });
    }
    return found;
  }

  async remove(key: string): Promise<void> {
    try {
      await this.#rows.remove(snapshotKey(key));
      await this.#rows.flushed;
    } catch (error) {
      throw await commitFailure(`snapshot ${key}`, error);
    }
  }

  #decode(row: Buffer | undefined): Snapshot | undefined {
    const value = checkedValue(row);
    if (!value) return undefined;
    try {
      return this.#packr.unpack(value) as Snapshot;
    } catch {
      return undefined;
    }
  }

  /** @throws CloudosError LOG_FULL, LOG_UNAVAILABLE */
  async save(key: string, snapshot: Snapshot): Promise<void> {
    const row = snapshotKey(key);
    if (row.length > snapshotKeyBytesMax) {
      throw new CloudosError(
        'LOG_UNAVAILABLE',
        `snapshot key of ${row.length} bytes, expected at most ${snapshotKeyBytesMax}`,
        { remedy: 'Use a shorter name.' },
      );
    }
    const value = withChecksum(this.#packr.pack(snapshot));
    if (!this.#space.fits(value.length + 8192)) {
      throw new CloudosError('LOG_FULL', `snapshot ${key} of ${value.length} bytes does not fit the disk`);
    }
    try {
      await this.#rows.put(row, value);
      await this.#rows.flushed;
    } catch (error) {
      throw await commitFailure(`snapshot ${key}`, error);
    }
  }
}
