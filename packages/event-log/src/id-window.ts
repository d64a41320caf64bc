/** How many recent ids a log remembers at least; it remembers at most twice as many. */
export const idWindowMin = 65_536;

/**
 * What the window knows of an id in a stream: the position of its event, that there is none, or nothing for certain
 * (the stream itself has to be searched).
 */
export type IdAnswer = number | 'absent' | 'unknown';

/** What the ids that are not in the window any more have in common. Survives a restart. */
export interface ForgottenIds {
  /** The greatest UUIDv7 among them, as text; empty when there is none. */
  readonly greatest: string;
  /** Whether ids other than UUIDv7 are among them. */
  readonly others: boolean;
}

export const nothingForgotten: ForgottenIds = { greatest: '', others: false };

/**
 * The ids of the last events, so that appending an id again is noticed without reading the log.
 *
 * Exact at bounded size: UUIDv7 text sorts by time, and the greatest forgotten id is kept. An id greater than that was
 * never forgotten, so the window alone decides on it, whatever the clocks of the writers show. Only an older id, one
 * that is no UUIDv7, or one that was used in two streams is `unknown`. (Ids dated far in the future make the ids that
 * follow `unknown` once forgotten: slower, never wrong.)
 */
export class IdWindow {
  readonly #size: number;
  readonly #mask: number;
  readonly #streams: string[];
  readonly #revisions: number[];
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #youngIds: MutableIds = { greatest: '', others: false };
  #oldIds: MutableIds = { greatest: '', others: false };
  #forgotten: ForgottenIds;

  /** @param size a power of two */
  constructor(size: number = idWindowMin, forgotten: ForgottenIds = nothingForgotten) {
    this.#size = size;
    this.#mask = size * 2 - 1;
    this.#streams = new Array<string>(size * 2);
    this.#revisions = new Array<number>(size * 2);
    this.#forgotten = forgotten;
  }

  /** Remembers an event that was appended. Positions must come one after another. */
  add(id: string, stream: string, revision: number, position: number): void {
    if (this.#young.size >= this.#size) this.#forgetOld();
    this.#young.set(id, position);
    this.#streams[position & this.#mask] = stream;
    this.#revisions[position & this.#mask] = revision;
    noteId(this.#youngIds, id);
  }

  /** Takes back an event that came to nothing. */
  remove(id: string): void {
    if (!this.#young.delete(id)) this.#old.delete(id);
  }

  find(id: string, stream: string): IdAnswer {
    const position = this.#young.get(id) ?? this.#old.get(id);
    if (position !== undefined) return this.#streams[position & this.#mask] === stream ? position : 'unknown';
    return isForgotten(this.#forgotten, id) ? 'unknown' : 'absent';
  }

  /** The revision of the event at a position that `find` returned. */
  revisionAt(position: number): number {
    return this.#revisions[position & this.#mask] ?? -1;
  }

  #forgetOld(): void {
    this.#forgotten = mergeIds(this.#forgotten, this.#oldIds);
    this.#old = this.#young;
    this.#oldIds = this.#youngIds;
    this.#young = new Map();
    this.#youngIds = { greatest: '', others: false };
  }
}

interface MutableIds {
  greatest: string;
  others: boolean;
}

/** True for the text of a UUIDv7, by its length and version digit. */
export function looksLikeUuid7(id: string): boolean {
  return id.length === 36 && id.charCodeAt(14) === 55;
}

/** Takes an id into the summary. */
export function noteId(ids: MutableIds, id: string): void {
  if (!looksLikeUuid7(id)) ids.others = true;
  else if (id > ids.greatest) ids.greatest = id;
}

/** Whether the id may be among those that the summary stands for. */
export function isForgotten(ids: ForgottenIds, id: string): boolean {
  return looksLikeUuid7(id) ? id <= ids.greatest : ids.others;
}

export function mergeIds(a: ForgottenIds, b: ForgottenIds): ForgottenIds {
  const [lesser, greater] = a.greatest < b.greatest ? [a, b] : [b, a];
  return { greatest: greater.greatest, others: greater.others || lesser.others };
}
