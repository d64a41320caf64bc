import { CloudosError, type RecordedEvent, schemaVersionOf } from '@cloudos/sdk';

/** Turns the data of one schema version into that of the next. Must not change its argument. */
export type Upcast = (data: never) => unknown;

/** How data written under an older schema version is read: by type, one step a version, chained to the current one. */
export class Upcasters {
  readonly #steps = new Map<string, Map<number, (data: unknown) => unknown>>();
  readonly #versionOf: (type: string) => number;

  /** @param versionOf the current version of a type (default: that of the shared events) */
  constructor(versionOf: (type: string) => number = schemaVersionOf) {
    this.#versionOf = versionOf;
  }

  /** Adds the step from a version to the one after it. */
  register(type: string, from: number, upcast: Upcast): this {
    const steps = this.#steps.get(type) ?? new Map<number, (data: unknown) => unknown>();
    if (steps.has(from)) throw new Error(`${type}: the step from schema version ${from} is registered twice`);
    steps.set(from, upcast as (data: unknown) => unknown);
    this.#steps.set(type, steps);
    return this;
  }

  get empty(): boolean {
    return this.#steps.size === 0;
  }

  currentVersion(type: string): number {
    return this.#versionOf(type);
  }

  /**
   * The event as it reads under the current version of its type; the same object where it is current already.
   * @throws CloudosError EVENT_INVALID when a step is missing or the event is newer than this program knows
   */
  upcast(event: RecordedEvent): RecordedEvent {
    const current = this.#versionOf(event.type);
    const { schema } = event.meta;
    if (schema === current) return event;
    const steps = this.#steps.get(event.type);
    if (!steps && schema < current) throw missingStep(event, schema, current);
    if (schema > current) {
      throw new CloudosError(
        'EVENT_INVALID',
        `${event.type} at position ${event.position} has schema version ${schema}, known are those up to ${current}`,
        { remedy: 'Read this log with the version of cloudos that wrote it, or a later one.' },
      );
    }
    let data = event.data;
    for (let version = schema; version < current; version++) {
      const step = steps?.get(version);
      if (!step) throw missingStep(event, version, current);
      data = step(data);
    }
    return { ...event, data, meta: { ...event.meta, schema: current } };
  }

  /** The same for a batch: the same array where nothing in it is older. */
  upcastAll(events: readonly RecordedEvent[]): readonly RecordedEvent[] {
    const older = events.some((event) => event.meta.schema !== this.#versionOf(event.type));
    return older ? events.map((event) => this.upcast(event)) : events;
  }
}

function missingStep(event: RecordedEvent, version: number, current: number): CloudosError {
  return new CloudosError(
    'EVENT_INVALID',
    `${event.type} at position ${event.position}: no upcaster from schema version ${version} towards ${current}`,
    { remedy: 'Register the missing upcaster.' },
  );
}
