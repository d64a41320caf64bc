import {
  type AppendResult,
  type Backpressure,
  checkEvent,
  compileKeys,
  type EventMeta,
  type ExpectedRevision,
  type Filter,
  type GlobalRange,
  type LogProvider,
  type LogReport,
  type NewEvent,
  type RecordedEvent,
  type SnapshotStore,
  type StoredEvents,
  type StreamRange,
  type TrimResult,
} from '@cloudos/sdk';
import { filter as filterBatches, map, type Observable } from 'rxjs';
import { isStreamRange } from './range.ts';
import { Upcasters } from './upcasters.ts';

export interface SchemaOptions {
  /** Checks data and returns it with defaults filled in (default: the shared events; private types pass). */
  readonly check?: (type: string, data: unknown) => unknown;
  readonly upcasters?: Upcasters;
}

/**
 * The same log with the vocabulary enforced: data is validated on append (EVENT_INVALID, EVENT_TYPE_UNKNOWN: nothing of
 * the append is written), stamped with the schema version of its type, and upcast to the current version when read.
 */
export function withSchemas(log: LogProvider, options: SchemaOptions = {}): LogProvider {
  return new SchemaLog(log, options.check ?? checkEvent, options.upcasters ?? new Upcasters());
}

class SchemaLog implements LogProvider {
  readonly #log: LogProvider;
  readonly #check: (type: string, data: unknown) => unknown;
  readonly #upcasters: Upcasters;
  #lastMeta: NewEvent['meta'];
  #lastStamped: Partial<EventMeta> = {};

  constructor(log: LogProvider, check: (type: string, data: unknown) => unknown, upcasters: Upcasters) {
    this.#log = log;
    this.#check = check;
    this.#upcasters = upcasters;
  }

  get snapshots(): SnapshotStore {
    return this.#log.snapshots;
  }

  /** Only while there is nothing to upcast: stored bytes are handed out as they are. */
  get stored(): StoredEvents | undefined {
    return this.#upcasters.empty ? this.#log.stored : undefined;
  }

  async append(stream: string, events: readonly NewEvent[], at: ExpectedRevision): Promise<AppendResult> {
    return this.#log.append(
      stream,
      events.map((event) => this.#checked(event)),
      at,
    );
  }

  read(range: StreamRange | GlobalRange): AsyncIterable<readonly RecordedEvent[]> {
    const selects = isStreamRange(range) ? undefined : this.#selects(range.filter);
    if (isStreamRange(range) || !selects) return this.#upcast(this.#log.read(range));
    const { limit, ...rest } = range;
    const batches = this.#upcast(this.#log.read({ ...rest, filter: withoutKeys(range.filter) }));
    return selected(batches, selects, limit ?? Number.POSITIVE_INFINITY);
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    const selects = this.#selects(filter);
    const batches = this.#log.subscribe(from, selects ? withoutKeys(filter) : filter, backpressure);
    const upcast = batches.pipe(map((batch) => this.#upcasters.upcastAll(batch)));
    if (!selects) return upcast;
    return upcast.pipe(
      map((batch) => batch.filter(selects)),
      filterBatches((batch) => batch.length > 0),
    );
  }

  /** Keys are those of the data as it is read; below here it is as it was written. */
  #selects(filter: Filter | undefined): ((event: RecordedEvent) => boolean) | undefined {
    return this.#upcasters.empty ? undefined : compileKeys(filter?.keys);
  }

  head(): number {
    return this.#log.head();
  }

  revision(stream: string): Promise<number> {
    return this.#log.revision(stream);
  }

  first(): number {
    return this.#log.first();
  }

  trim(before: number): Promise<TrimResult> {
    return this.#log.trim(before);
  }

  verify(onProgress?: (positions: number) => void): Promise<LogReport> {
    return this.#log.verify(onProgress);
  }

  async *#upcast(batches: AsyncIterable<readonly RecordedEvent[]>): AsyncGenerator<readonly RecordedEvent[]> {
    for await (const batch of batches) yield this.#upcasters.upcastAll(batch);
  }

  #checked(event: NewEvent): NewEvent {
    const { type, id, time } = event;
    const data = this.#check(type, event.data);
    const meta = this.#stamped(event.meta, this.#upcasters.currentVersion(type));
    if (id !== undefined && time !== undefined) return { type, data, id, time, meta };
    return { type, data, meta, ...(id !== undefined && { id }), ...(time !== undefined && { time }) };
  }

  /** With the schema version. Events that share one `meta` go on sharing one. */
  #stamped(meta: NewEvent['meta'], schema: number): Partial<EventMeta> {
    if (meta?.schema === schema) return meta;
    if (meta && meta === this.#lastMeta && this.#lastStamped.schema === schema) return this.#lastStamped;
    const stamped = { ...meta, schema };
    this.#lastMeta = meta;
    this.#lastStamped = stamped;
    return stamped;
  }
}

function withoutKeys({ types, streams }: Filter = {}): Filter {
  return { ...(types && { types }), ...(streams && { streams }) };
}

async function* selected(
  batches: AsyncIterable<readonly RecordedEvent[]>,
  selects: (event: RecordedEvent) => boolean,
  limit: number,
): AsyncGenerator<readonly RecordedEvent[]> {
  let left = limit;
  if (left <= 0) return;
  for await (const batch of batches) {
    const found = batch.filter(selects).slice(0, left);
    left -= found.length;
    if (found.length > 0) yield found;
    if (left <= 0) return;
  }
}
