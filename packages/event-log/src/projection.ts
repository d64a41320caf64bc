import type { Backpressure, EventLog, Filter, GlobalRange, RecordedEvent, SnapshotStore } from '@cloudos/sdk';
import type { Subscription } from 'rxjs';

/** A state that follows from events. */
export interface Projection<State> {
  /** Key of its snapshots. */
  readonly name: string;
  initial(): State;
  /** The only way the state changes. May update in place and return the same object. */
  evolve(state: State, event: RecordedEvent): State;
  /** Which events it needs (default: all). */
  readonly filter?: Filter;
  readonly snapshot?: {
    /** Changes when the saved shape does, or what `evolve` makes of events. */
    readonly version: number;
    /** Plain data, detached from the state. */
    save(state: State): unknown;
    load(saved: unknown): State;
  };
}

/** A state and the last position that is in it; -1 for none. */
export interface Projected<State> {
  readonly state: State;
  readonly position: number;
}

export interface ProjectOptions {
  /** The last position to take in (default: the head as it is at the call). */
  readonly to?: number;
  /** Where to begin from a snapshot, if there is one that is not past `to`. */
  readonly snapshots?: SnapshotStore;
}

/** Runs a projection over the log: from its snapshot (or the beginning), then the rest. */
export async function project<State>(
  log: Pick<EventLog, 'read' | 'head'>,
  projection: Projection<State>,
  options: ProjectOptions = {},
): Promise<Projected<State>> {
  const to = Math.min(options.to ?? log.head(), log.head());
  const start = await startOf(projection, options.snapshots, to);
  let { state } = start;
  const range: GlobalRange = { from: start.position + 1, to };
  for await (const batch of log.read(projection.filter ? { ...range, filter: projection.filter } : range)) {
    for (const event of batch) state = projection.evolve(state, event);
  }
  return { state, position: Math.max(to, start.position) };
}

/** Saves what a projection has come to, where the projection has snapshots. The last save under its name wins. */
export async function saveSnapshot<State>(
  store: SnapshotStore,
  projection: Projection<State>,
  { state, position }: Projected<State>,
): Promise<void> {
  const { snapshot } = projection;
  if (!snapshot) return;
  await store.save(projection.name, { version: snapshot.version, position, state: snapshot.save(state) });
}

async function startOf<State>(
  projection: Projection<State>,
  store: SnapshotStore | undefined,
  to: number,
): Promise<Projected<State>> {
  const { snapshot } = projection;
  const saved = snapshot && store ? await store.load(projection.name, snapshot.version) : undefined;
  if (!snapshot || !saved || saved.position > to) return { state: projection.initial(), position: -1 };
  return { state: snapshot.load(saved.state), position: saved.position };
}

/** A projection that keeps up with the log. */
export class LiveProjection<State> {
  readonly #projection: Projection<State>;
  #state: State;
  #position: number;
  #subscription: Subscription | undefined;
  #waiting: { readonly position: number; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] =
    [];
  #failure: unknown;
  #ended = false;

  private constructor(projection: Projection<State>, start: Projected<State>) {
    this.#projection = projection;
    this.#state = start.state;
    this.#position = start.position;
  }

  /** Runs it up to the head as it is at the call, from a snapshot where there is one; then it follows by itself. */
  static async start<State>(
    log: Pick<EventLog, 'read' | 'head' | 'subscribe'>,
    projection: Projection<State>,
    options: Omit<ProjectOptions, 'to'> & { readonly backpressure?: Backpressure } = {},
  ): Promise<LiveProjection<State>> {
    const live = new LiveProjection(projection, await project(log, projection, options));
    live.#subscription = log.subscribe(live.#position + 1, projection.filter, options.backpressure).subscribe({
      next: (batch) => live.#take(batch),
      error: (error) => live.#end(error),
      complete: () => live.#end(new Error(`${projection.name}: the log was closed`)),
    });
    return live;
  }

  get state(): State {
    return this.#state;
  }

  /** Position of the last event that was taken in. */
  get position(): number {
    return this.#position;
  }

  /** Resolves when an event at that position or later is in the state. Rejects when the projection ends before. */
  reached(position: number): Promise<void> {
    if (this.#position >= position) return Promise.resolve();
    if (this.#ended) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => this.#waiting.push({ position, resolve, reject }));
  }

  close(): void {
    this.#subscription?.unsubscribe();
    this.#end(new Error(`${this.#projection.name}: the projection was closed`));
  }

  #take(batch: readonly RecordedEvent[]): void {
    try {
      for (const event of batch) {
        this.#state = this.#projection.evolve(this.#state, event);
        this.#position = event.position;
      }
    } catch (error) {
      this.#subscription?.unsubscribe();
      this.#end(error);
      return;
    }
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter((waiter) => waiter.position > this.#position);
    for (const waiter of waiting) if (waiter.position <= this.#position) waiter.resolve();
  }

  #end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = error;
    for (const waiter of this.#waiting) waiter.reject(error);
    this.#waiting = [];
  }
}
