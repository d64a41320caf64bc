import { type ForgottenIds, isForgotten, type MutableIds, noteId, nothingForgotten } from './forgotten-ids.ts';
import { IdRing } from './id-ring.ts';

/** How many recent ids a log remembers. */
export const idWindowMin = 131_072;

/**
 * What the window knows of an id in a stream: the position of its event, that there is none, or nothing for certain
 * (the stream itself has to be searched).
 */
export type IdAnswer = number | 'absent' | 'unknown';

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
  readonly #ids: IdRing;
  readonly #streams: string[];
  readonly #revisions: number[];
  /** Position by id; made only when somebody asks, and only of what came since the last time. */
  readonly #positions = new Map<string, number>();
  #indexedTo: number;
  #last: number;
  /** First position that was added. */
  #first = -1;
  /** What lies before was overwritten, even if what overwrote it was taken back. */
  #floor = 0;
  readonly #forgotten: ForgottenIds;
  /** Of all ids, also those that are remembered and those that were taken back. */
  readonly #all: MutableIds;

  /** @param size a power of two */
  constructor(size: number = idWindowMin, forgotten: ForgottenIds = nothingForgotten) {
    this.#size = size;
    this.#mask = size - 1;
    this.#ids = new IdRing(size);
    this.#streams = [];
    this.#revisions = [];
    this.#indexedTo = -1;
    this.#last = -1;
    this.#forgotten = { ...forgotten };
    this.#all = { ...forgotten };
  }

  /** Remembers an event that was appended. Positions must come one after another. */
  add(id: string, stream: string, revision: number, position: number): void {
    noteId(this.#all, id);
    const slot = position & this.#mask;
    if (this.#first < 0) {
      this.#first = position;
      this.#indexedTo = position - 1;
    } else if (position - this.#first >= this.#size) this.#ids.forget(slot);
    this.#ids.set(slot, id);
    this.#streams[slot] = stream;
    this.#revisions[slot] = revision;
    this.#last = position;
  }

  /** Takes back the last event that was added: it came to nothing. */
  removeLast(): void {
    if (this.#indexedTo === this.#last) {
      const id = this.#ids.at(this.#last & this.#mask);
      if (this.#positions.get(id) === this.#last) this.#positions.delete(id);
    }
    this.#floor = Math.max(this.#floor, this.#last - this.#size + 1);
    this.#last--;
    this.#indexedTo = Math.min(this.#indexedTo, this.#last);
  }

  find(id: string, stream: string): IdAnswer {
    // Mostly an id was made just now: nothing has to be looked up for that.
    if (!isForgotten(this.#all, id)) return 'absent';
    this.#index();
    const position = this.#positions.get(id);
    if (position !== undefined && position >= Math.max(this.#floor, this.#last - this.#size + 1)) {
      return this.#streams[position & this.#mask] === stream ? position : 'unknown';
    }
    return isForgotten(this.#forgotten, id) || isForgotten(this.#ids.forgotten(), id) ? 'unknown' : 'absent';
  }

  /** The revision of the event at a position that `find` returned. */
  revisionAt(position: number): number {
    return this.#revisions[position & this.#mask] ?? -1;
  }

  #index(): void {
    if (this.#indexedTo >= this.#last) return;
    let from = Math.max(this.#indexedTo + 1, this.#last - this.#size + 1, this.#first, this.#floor);
    if (this.#positions.size >= 2 * this.#size) {
      // Half of it has left the window. Seldom enough that an id costs two insertions, however many pass through.
      this.#positions.clear();
      from = Math.max(this.#last - this.#size + 1, this.#first, this.#floor);
    }
    for (let position = from; position <= this.#last; position++) {
      this.#positions.set(this.#ids.at(position & this.#mask), position);
    }
    this.#indexedTo = this.#last;
  }
}
