import type { Snapshot, SnapshotInfo, SnapshotStore } from '@cloudos/sdk';

/** Snapshots in memory. What is saved and what is loaded are copies. */
export class MemorySnapshots implements SnapshotStore {
  readonly #snapshots = new Map<string, Snapshot>();

  async load(key: string, version: number): Promise<Snapshot | undefined> {
    const snapshot = this.#snapshots.get(key);
    return snapshot?.version === version ? structuredClone(snapshot) : undefined;
  }

  async save(key: string, snapshot: Snapshot): Promise<void> {
    this.#snapshots.set(key, structuredClone(snapshot));
  }

  async list(): Promise<readonly SnapshotInfo[]> {
    return [...this.#snapshots].map(([key, { version, position }]) => ({ key, version, position }));
  }

  async remove(key: string): Promise<void> {
    this.#snapshots.delete(key);
  }
}
