import { type AppendResult, CloudosError, type ExpectedRevision, type NewEvent } from '@cloudos/sdk';
import type { ForgottenIds } from './forgotten-ids.ts';
import { IdWindow, idWindowMin } from './id-window.ts';

/** Where an event with a certain id already is. */
export interface KnownEvent {
  readonly position: number;
  readonly revision: number;
}

/**
 * What is to become of an append: `write` it; it is a `duplicate`; or the stream has to be searched for `ids` first
 * (then ask again with what was found).
 */
export type Verdict =
  | { readonly kind: 'write' }
  | { readonly kind: 'duplicate'; readonly result: AppendResult }
  | { readonly kind: 'search'; readonly ids: readonly string[] };

const write: Verdict = { kind: 'write' };

/** What a search of the stream found, by id. An id that is not in `found` is not in the stream. */
export type SearchResult = ReadonlyMap<string, KnownEvent>;

/**
 * Decides on appends: the revision of every stream and the recent ids. Holds one number a stream and the
 * {@link IdWindow}. Shared by the engines; the order of calls is the order of the log.
 */
export class AppendLedger {
  readonly #heads: Map<string, number>;
  readonly #ids: IdWindow;

  constructor(heads: Map<string, number> = new Map(), forgotten?: ForgottenIds, idWindow: number = idWindowMin) {
    this.#heads = heads;
    this.#ids = new IdWindow(idWindow, forgotten);
  }

  /** Revision of the last event of the stream, -1 when it is empty. */
  revision(stream: string): number {
    return this.#heads.get(stream) ?? -1;
  }

  get streams(): number {
    return this.#heads.size;
  }

  heads(): ReadonlyMap<string, number> {
    return this.#heads;
  }

  /**
   * @param searched what a search for the ids of an earlier `search` verdict found
   * @throws CloudosError REVISION_CONFLICT, EVENT_INVALID
   */
  check(stream: string, events: readonly NewEvent[], at: ExpectedRevision, searched?: SearchResult): Verdict {
    const given = events.some((event) => event.id !== undefined);
    if (given) {
      const verdict = this.#checkIds(stream, events, searched);
      if (verdict) return verdict;
    }
    if (at !== 'any') {
      const actual = this.revision(stream);
      const expected = at === 'none' ? -1 : at;
      if (actual !== expected) throw revisionConflict(stream, at, actual);
    }
    return write;
  }

  /** Takes note of an event that was given its place. */
  add(id: string, stream: string, revision: number, position: number): void {
    this.#heads.set(stream, revision);
    this.#ids.add(id, stream, revision, position);
  }

  /** Takes back the last events that were added (the newest last), as if they had never been. */
  removeLast(events: readonly { readonly id: string; readonly stream: string; readonly revision: number }[]): void {
    for (let index = events.length - 1; index >= 0; index--) {
      const event = events[index]!;
      if (event.revision === 0) this.#heads.delete(event.stream);
      else this.#heads.set(event.stream, event.revision - 1);
      this.#ids.removeLast();
    }
  }

  #checkIds(stream: string, events: readonly NewEvent[], searched: SearchResult | undefined): Verdict | undefined {
    if (events.length > 1) assertIdsDiffer(stream, events);
    const known: KnownEvent[] = [];
    const search: string[] = [];
    let absent: string | undefined;
    for (const event of events) {
      const id = event.id;
      if (id === undefined) {
        absent ??= '(to be made)';
        continue;
      }
      const answer = this.#ids.find(id, stream);
      if (typeof answer === 'number') known.push({ position: answer, revision: this.#ids.revisionAt(answer) });
      else if (answer === 'absent') absent ??= id;
      else if (searched) {
        const found = searched.get(id);
        if (found) known.push(found);
        else absent ??= id;
      } else search.push(id);
    }
    if (search.length > 0) return { kind: 'search', ids: search };
    if (known.length === 0) return undefined;
    if (absent !== undefined) throw this.#partialOverlap(stream, events, absent);
    return { kind: 'duplicate', result: duplicateOf(known) };
  }

  #partialOverlap(stream: string, events: readonly NewEvent[], absent: string): CloudosError {
    const actual = this.revision(stream);
    return new CloudosError(
      'REVISION_CONFLICT',
      `append of ${events.length} events to ${stream}: some of their ids are in the stream already, ${absent} is not`,
      { details: { stream, expected: 'all ids or none in the stream', actual, id: absent } },
    );
  }
}

function duplicateOf(known: readonly KnownEvent[]): AppendResult {
  let first = known[0]!;
  let last = known[0]!;
  for (const event of known) {
    if (event.position < first.position) first = event;
    if (event.position > last.position) last = event;
  }
  return { first: first.position, last: last.position, revision: last.revision, duplicate: true };
}

function assertIdsDiffer(stream: string, events: readonly NewEvent[]): void {
  if (areIdsAscending(events)) return;
  const seen = new Set<string>();
  for (const { id } of events) {
    if (id === undefined) continue;
    if (seen.has(id)) throw new CloudosError('EVENT_INVALID', `append to ${stream}: id ${id} is given to two events`);
    seen.add(id);
  }
}

/** As those of one writer are that were made one after another. */
function areIdsAscending(events: readonly NewEvent[]): boolean {
  let last = '';
  for (const { id } of events) {
    if (id === undefined || id <= last) return false;
    last = id;
  }
  return true;
}

/** The error for a stream that is not where the writer expected it. */
export function revisionConflict(stream: string, expected: ExpectedRevision, actual: number): CloudosError {
  return new CloudosError(
    'REVISION_CONFLICT',
    `append to ${stream}: expected ${expected === 'none' ? 'an empty stream' : `revision ${expected}`}, it is ${actual < 0 ? 'empty' : `at revision ${actual}`}`,
    { details: { stream, expected, actual } },
  );
}
