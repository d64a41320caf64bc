import {
  type AppendResult,
  type Backpressure,
  checkEvent,
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
import { map, type Observable } from 'rxjs';
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
    return this.#upcast(this.#log.read(range));
  }

  subscribe(from: number, filter?: Filter, backpressure?: Backpressure): Observable<readonly RecordedEvent[]> {
    return this.#log.subscribe(from, filter, backpressure).pipe(map((batch) => this.#upcasters.upcastAll(batch)));
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
