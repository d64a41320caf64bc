/** An event as it stands in the log. */
export interface RecordedEvent<Type extends string = string, Data = unknown> {
  /** Global position: strictly increasing over all streams, from 0, without gaps in the embedded logs. */
  readonly position: number;
  /** `category-id` (`node-n1`), or a singleton (`kernel`). */
  readonly stream: string;
  /** Per stream, from 0, without gaps. */
  readonly revision: number;
  /** UUIDv7. Appending the same id to the same stream again is a no-op. */
  readonly id: string;
  /** PascalCase, past tense; or private: `x-<plugin>-<Name>`. */
  readonly type: Type;
  /** Epoch milliseconds, set by the writer's clock. */
  readonly time: number;
  readonly data: Data;
  readonly meta: EventMeta;
}

export interface EventMeta {
  /** The position up to which the writer had handled the log when it wrote this. */
  readonly causation?: number;
  /** What a chain of events has in common: the id of the command it began with. */
  readonly correlation?: string;
  readonly producer: Producer;
  /** Schema version of `data` as written; readers see it upcast to the current one. */
  readonly schema: number;
  /** W3C Trace Context, where the command carried one. */
  readonly traceparent?: string;
}

export interface Producer {
  readonly plugin: string;
  readonly generation: number;
}

/** An event about to be appended. The log adds position, stream, revision; it also adds what is left out here. */
export interface NewEvent<Type extends string = string, Data = unknown> {
  readonly type: Type;
  readonly data: Data;
  readonly id?: string;
  readonly time?: number;
  readonly meta?: Partial<EventMeta>;
}

/** True for a private event of a plugin: a hint that others may ignore. */
export function isPrivateType(type: string): boolean {
  return type.startsWith('x-');
}
