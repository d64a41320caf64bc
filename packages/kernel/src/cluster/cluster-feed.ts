import {
  type Clock,
  type EventLog,
  type Logger,
  type LogProvider,
  messageOf,
  type RecordedEvent,
  type SharedEvent,
} from '@cloudos/sdk';
import { type Observable, Subject, type Subscription } from 'rxjs';
import { SnapshotPace } from '../snapshot-pace.ts';
import { clusterSnapshotVersion, loadCluster, saveCluster } from './cluster-snapshot.ts';
import { type ClusterState, emptyCluster, evolveCluster } from './cluster-state.ts';

/** A snapshot of the cluster is saved after that many events. */
const snapshotEvery = 200_000;
const snapshotKey = 'kernel/cluster';

/** Keeps the cluster state level with the log and tells what has changed. */
export class ClusterFeed {
  readonly #log: EventLog & Pick<LogProvider, 'snapshots'>;
  readonly #logger: Logger;
  readonly #onError: (error: unknown) => void;
  readonly #snapshots: SnapshotPace;
  readonly #changes = new Subject<readonly SharedEvent[]>();
  readonly #waiting = new Set<{ position: number; reached: () => void }>();
  #state: ClusterState = emptyCluster();
  #subscription: Subscription | undefined;

  constructor(
    log: EventLog & Pick<LogProvider, 'snapshots'>,
    clock: Clock,
    logger: Logger,
    onError: (error: unknown) => void,
  ) {
    this.#log = log;
    this.#onError = onError;
    this.#logger = logger;
    this.#snapshots = new SnapshotPace(clock, snapshotEvery);
  }

  /** Live: changed in place as events arrive. */
  get state(): ClusterState {
    return this.#state;
  }

  /** Events that the state has just taken in, in order. */
  get changes(): Observable<readonly SharedEvent[]> {
    return this.#changes;
  }

  /** Rebuilds the state from the newest snapshot and the log after it. */
  async catchUp(): Promise<void> {
    const snapshot = await this.#log.snapshots.load(snapshotKey, clusterSnapshotVersion);
    if (snapshot && snapshot.position <= this.#log.head()) {
      try {
        this.#state = loadCluster(snapshot.state);
        this.#snapshots.loaded(snapshot.position);
      } catch (error) {
        this.#logger.warn(`snapshot of the cluster cannot be loaded, replaying the log: ${messageOf(error)}`);
      }
    }
    for await (const batch of this.#log.read({ from: this.#state.position + 1 })) this.#evolve(batch);
  }

  /** Follows the log from where {@link catchUp} has led to. */
  start(): void {
    this.#subscription = this.#log.subscribe(this.#state.position + 1).subscribe({
      next: (batch) => this.#take(batch),
      error: this.#onError,
    });
  }

  #take(batch: readonly RecordedEvent[]): void {
    this.#evolve(batch);
    this.#changes.next(batch as readonly SharedEvent[]);
    for (const waiting of this.#waiting) {
      if (waiting.position > this.#state.position) continue;
      this.#waiting.delete(waiting);
      waiting.reached();
    }
    if (this.#snapshots.due(this.#state.position)) void this.save();
  }

  /** Resolves when the state has taken in that position. */
  level(position: number): Promise<void> {
    if (this.#state.position >= position || !this.#subscription || this.#subscription.closed) return Promise.resolve();
    return new Promise((reached) => this.#waiting.add({ position, reached }));
  }

  /**
   * The state as it was when the log ended at that position: from position 0 on, or from the newest snapshot where the
   * log was trimmed.
   * @throws CloudosError LOG_TRIMMED for a position before that snapshot
   */
  async stateAt(position: number): Promise<ClusterState> {
    const state = this.#log.first() === 0 ? emptyCluster() : await this.#snapshotBefore(position);
    for await (const batch of this.#log.read({ from: state.position + 1, to: position })) {
      for (const event of batch) evolveCluster(state, event as SharedEvent);
    }
    return state;
  }

  async #snapshotBefore(position: number): Promise<ClusterState> {
    const snapshot = await this.#log.snapshots.load(snapshotKey, clusterSnapshotVersion);
    return snapshot && snapshot.position <= position ? loadCluster(snapshot.state) : emptyCluster();
  }

  /** Leaves a snapshot for the next start. Failing to is logged and no more: it only makes that start slower. */
  async save(): Promise<void> {
    const { position } = this.#state;
    if (position <= this.#snapshots.position) return;
    await this.#snapshots.save(position, () =>
      this.#log.snapshots
        .save(snapshotKey, { version: clusterSnapshotVersion, position, state: saveCluster(this.#state) })
        .catch((error) => this.#logger.warn(`snapshot of the cluster: ${messageOf(error)}`)),
    );
  }

  stop(): void {
    this.#subscription?.unsubscribe();
    for (const { reached } of this.#waiting) reached();
    this.#waiting.clear();
    this.#changes.complete();
  }

  #evolve(batch: readonly RecordedEvent[]): void {
    for (const event of batch) evolveCluster(this.#state, event as SharedEvent);
  }
}
